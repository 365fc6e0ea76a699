"""The pages, their .json twins, and the HTTP API: three pages and a search, drawn by the server, without a script."""

from lae_monitor.web.app import create_app, guarded

__all__ = ["create_app", "guarded"]

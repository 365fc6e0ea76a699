"""The pages, their .json twins, and the HTTP API: three pages and a search, drawn by the server, without a script."""

from lae_monitor.web.app import Guard, create_app

__all__ = ["Guard", "create_app"]

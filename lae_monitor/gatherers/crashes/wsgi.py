"""`gunicorn lae_monitor.gatherers.crashes.wsgi:application`; see `lae_monitor.kinds.crashes.wsgi`."""

from lae_monitor.kinds.crashes.wsgi import application

__all__ = ["application"]

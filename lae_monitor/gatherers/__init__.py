"""The public path of the WSGI application, which configurations of gunicorn name; the kinds live in `lae_monitor.kinds`."""

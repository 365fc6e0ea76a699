"""The pages of all kinds (fleet, host, report, search, groups), their .json twins, and the HTTP API. None needs a script.

app          the ASGI application, and who may use it
pages        routes of fleet, host, report and search; groups: those of groups; api: /api/... and the .json twins
content      a page as data, asked of query/
drawing      numbers -> coordinates of bars and strips
shown        filters for the templates
answering    answers as page, JSON or CSV; errors

A host's page: pages.py asks content.py for its data; query/timeline.py counts the events by kind and time; drawing.py makes
one lane for each kind. A kind's own pages are in its room: `routes` of its record.
"""

from lae_monitor.web.app import Guard, create_app

__all__ = ["Guard", "create_app"]

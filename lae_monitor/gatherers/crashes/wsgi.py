"""`gunicorn lae_monitor.gatherers.crashes.wsgi:application`; see `lae_monitor.kinds.crashes.wsgi`."""

from functools import partial

from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes.wsgi import answer

application = partial(answer, KINDS)

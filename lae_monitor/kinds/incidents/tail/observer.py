"""What a publisher calls while we read its log. Import this only after `tubs.start_reactor()`."""

import asyncio
from contextlib import suppress
from typing import Any

from foolscap.logging.interfaces import RILogObserver, RILogPublisher
from foolscap.referenceable import Referenceable
from zope.interface import implementer

PUBLISHER = RILogPublisher  # Foolscap knows the interfaces that were imported


@implementer(RILogObserver)
class TailObserver(Referenceable):
    """Puts events into a queue; those that find it full are left out."""

    def __init__(self, events: "asyncio.Queue[Any]") -> None:
        self._events = events

    def remote_msg(self, logmsg: Any) -> None:
        with suppress(asyncio.QueueFull):
            self._events.put_nowait(logmsg)

    def remote_done(self) -> None:
        """Of log files, which no publisher offers."""

    def remote_new_incident(self, name: Any, trigger: Any) -> None:
        """We subscribe to events only."""

    def remote_done_with_incident_catchup(self) -> None:
        """As above."""

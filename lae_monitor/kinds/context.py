"""What a gatherer is given to work with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lae_monitor.archive import Archive, Journal
from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.net.http import Access


@dataclass(kw_only=True)
class Context:
    """One gatherer's surroundings.

    `ready()` is called once it can be reached, with what to tell the operator; `stop` is set when it has to end: it then
    takes nothing new, finishes what it has begun, and returns from `gather()`.
    """

    settings: Settings
    archive: Archive
    journal: Journal
    clock: Clock = wall_clock
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ready: Callable[[str], None] = lambda _text: None

    @property
    def cluster(self) -> ClusterName:
        return ClusterName(self.settings.fleet.name)

    @property
    def access(self) -> Access:
        """Who may look at our figures, and at the names of our folders."""
        return Access(self.settings.credentials)

    def credentials(self, kind: str) -> Path:
        """The folder of this kind's credentials, made if it is missing."""
        folder = self.settings.credentials / kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

"""What the pages are made from."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lae_monitor.archive import Archive
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.query.decisions import Decisions
from lae_monitor.store import Store

Retry = Callable[[str], Awaitable[bool]]
Status = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    Args:
        retry: reads again what is in quarantine under an id; False when nothing is.
        decisions: takes what operators decide of groups; None where pages are only looked at.
        status: of the machinery: `archive` (roots with their health), `mover`, `quarantine`; each may be missing.
    """

    store: Store
    archive: Archive
    fleet: str
    retry: Retry
    status: Status
    clock: Clock = wall_clock
    decisions: Decisions | None = None

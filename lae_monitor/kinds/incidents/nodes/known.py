"""Which incidents of a host need no fetching: a set of names, not a high-water mark.

A name is settled once it is stored, or refused for good. A node that restarts under a new TubID announces everything anew;
what is settled is not fetched again.
"""

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from lae_monitor.core.time import HOUR
from lae_monitor.kinds.incidents.wire.names import IncidentName, is_past, since

NodeT = TypeVar("NodeT")

MAX_OWED: Final = 20_000  # names announced and not settled, a host; a node keeps some hundred incidents
MAX_LEFT: Final = 1_000  # of them, names that no connected node has announced: the oldest are kept
PRUNE_ABOVE: Final = 2_000  # settled names kept in memory before those that no node is asked for are dropped
FIRST_RETRY: Final = 5.0  # seconds until a failed fetch is tried again; doubled with each failure
LAST_RETRY: Final = HOUR


class Known(Generic[NodeT]):
    """The names of one host.

    Args:
        cursor: what the host's `latest` file says; "" when there is none.
        settled: names that are stored or were refused; those older than `since()` may be missing.
    """

    def __init__(self, cursor: str, settled: Iterable[str]) -> None:
        self.cursor = cursor
        self.is_saved = True  # whether `latest` says what the cursor does, or soon will
        self._settled = set(settled)
        self._newest = ""  # of the settled names, without those from the future
        self._fresh = list(self._settled)  # that were not yet looked at for it: never all anew for each one
        self._prune_above = PRUNE_ABOVE
        self._owed: dict[IncidentName, list[NodeT]] = {}  # the nodes that announced it; the first is asked for it
        self._failures: dict[IncidentName, tuple[int, float]] = {}  # how often, and not to be tried before

    def since(self, now: float) -> str:
        """From which name on to ask a node."""
        return since(self.cursor, now)

    def join(self, cursor: str, names: Iterable[str]) -> None:
        """`names` are settled too: those of a host that turned out to be this one, which was asked up to `cursor`.

        What of both was asked less far decides from where on nodes are asked.
        """
        self.cursor = min(self.cursor, cursor)
        for name in names:
            self._settled.add(name)
            self._fresh.append(name)
            self._owed.pop(name, None)  # type: ignore[call-overload] # an IncidentName is a str

    @property
    def newest(self) -> str:
        return max(self._settled, default=self.cursor)

    @property
    def is_full(self) -> bool:
        return len(self._owed) >= MAX_OWED

    def owe(self, name: IncidentName, node: NodeT) -> bool:
        """Notes that `node` has `name`; returns whether it is the one to be asked for it."""
        if name in self._settled:
            return False
        nodes = self._owed.setdefault(name, [])
        if node in nodes:
            return False
        nodes.append(node)
        return len(nodes) == 1

    def leave(self, node: NodeT) -> list[tuple[IncidentName, NodeT]]:
        """`node` is gone; returns what is now to be asked of others, such as the same node over its next connection.

        What nobody else has stays owed: the cursor waits for it.
        """
        heirs = []
        for name, nodes in self._owed.items():
            if node in nodes:
                was_asked = nodes[0] is node
                nodes.remove(node)
                if was_asked and nodes:
                    heirs.append((name, nodes[0]))
        for name in sorted(name for name, nodes in self._owed.items() if not nodes)[MAX_LEFT:]:
            del self._owed[name]
            self._failures.pop(name, None)
        return heirs

    def fail(self, name: IncidentName, now: float) -> int:
        """Notes that `name` could not be fetched; returns how often so far."""
        count = self._failures.get(name, (0, 0.0))[0] + 1
        self._failures[name] = (count, now + min(FIRST_RETRY * 2 ** (min(count, 20) - 1), LAST_RETRY))
        return count

    def delay(self, name: IncidentName, now: float) -> float:
        """Seconds until `name` may be fetched: failures count over reconnections, so that no incident makes us spin."""
        return max(self._failures.get(name, (0, 0.0))[1] - now, 0.0)

    def settle(self, name: IncidentName, now: float) -> bool:
        """Notes that `name` needs no fetching any more; returns whether the cursor moved."""
        self._owed.pop(name, None)
        self._failures.pop(name, None)
        self._settled.add(name)
        self._fresh.append(name)
        return self.advance(now)

    def advance(self, now: float) -> bool:
        """Moves the cursor to the newest settled name, if it may; returns whether it did.

        The cursor only moves where no name that is still owed falls out of what nodes are asked for. It never goes to one
        from the future: what is made until then would move it no more, and would be lost after a week without a connection.
        """
        self._newest = max([self._newest, *(one for one in self._fresh if is_past(one, now))])
        self._fresh.clear()
        start = since(self._newest, now)
        if self._newest <= self.cursor or any(owed <= start for owed in self._owed):
            return False
        self.cursor = self._newest
        self.is_saved = False
        if len(self._settled) > self._prune_above:
            self._settled = {known for known in self._settled if known > start}
            self._prune_above = max(PRUNE_ABOVE, 2 * len(self._settled))
        return True

"""Reading what the archive has, on whichever root it lies."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from lae_monitor.archive.errors import Exists
from lae_monitor.archive.files import check_path
from lae_monitor.archive.kernel import Entry
from lae_monitor.archive.root import Root, Unusable
from lae_monitor.core.rows import Span

T = TypeVar("T")


class Reading:
    """Reads from `roots`, the first one first; one that hangs, or is not ours, is not asked."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = roots

    async def settle(self, path: str) -> int:
        """How many bytes of `path` are durable."""
        return await self._find(path, lambda root: root.files.settle(path))

    async def read(self, span: Span) -> bytes:
        """The bytes of `span`; fewer when the file ends before."""
        return await self._find(span.path, lambda root: root.files.read(span.path, span.start, span.end - span.start))

    async def _find(self, path: str, job: Callable[[Root], T]) -> T:
        check_path(path, stored=True)
        reasons: list[str] = []
        # Twice, for a file that came home between asking there and asking where it was before.
        for root in (*self._roots, *(self._roots if len(self._roots) > 1 else ())):
            if root.health in {"hanging", "refused"}:
                reasons.append(f"{root.name}: not asked, it {'hangs' if root.health == 'hanging' else 'is refused'}")
                continue
            try:
                return await root.ask(lambda root=root: job(root))  # type: ignore[misc]
            except FileNotFoundError:
                continue
            except (Unusable, OSError) as error:
                reasons.append(f"{root.name}: {error}")
        detail = f" ({'; '.join(dict.fromkeys(reasons))})" if reasons else ""
        raise FileNotFoundError(f"{path}: in no archive root{detail}")

    async def entries(self, folder: str) -> list[Entry]:
        """What is in `folder` ("" for the top), over all roots that answer; what is on two roots counts once."""
        if folder:
            check_path(folder, stored=True)
        found: dict[str, Entry] = {}
        for root in reversed(self._roots):
            if root.health in {"hanging", "refused"}:
                continue
            try:
                listed = await root.ask(lambda root=root: root.files.entries(folder))  # type: ignore[misc]
            except (Unusable, OSError):
                continue
            found.update((entry.name, entry) for entry in listed)
        return [found[name] for name in sorted(found)]


async def refuse_if_elsewhere(path: str, roots: Iterable[Root]) -> None:
    """
    Raises:
        Exists: one of `roots` has the file, durable. A root that does not say is not waited for; what is there twice after
            all gets a number when it comes home.
    """
    for root in roots:
        if root.files.holds_files and root.health not in {"hanging", "refused"}:
            with suppress(Unusable, OSError):
                await root.ask(lambda root=root: root.files.confirm(path))  # type: ignore[misc]
                raise Exists(path)

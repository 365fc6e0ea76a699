"""One archive root, its workers and its health.

A root is `ok`, `full`, `failing`, `hanging`, or `refused`: not ours, see installation.py. Only one that is ok is written to;
a probe finds out when it is again. Each root has threads of its own, so that one that hangs delays nobody else.
"""

import asyncio
import errno
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar

from lae_monitor.archive.files import FULL_ERRNOS, ROOM, Exists, Failed, Files, Full, InUse, Tight
from lae_monitor.archive.identity import NotOurs
from lae_monitor.archive.kernel import Space
from lae_monitor.archive.workers import Abandoned, Job, Ticket, Workers
from lae_monitor.core.limits import format_size
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock

T = TypeVar("T")

Health = Literal["ok", "full", "failing", "hanging", "refused"]

THREADS: Final = 8  # writers a root; more gain nothing (journal commits are shared by then)
HANG_AFTER: Final = 5.0  # seconds for one job; a healthy disk needs milliseconds, a busy one 0.1 s
PROBE_SIZE: Final = 16  # bytes
PROBE_EVERY: Final = 5.0  # seconds while all is well
PROBE_SOON: Final = 0.5  # seconds while it is not

# Errors that say nothing of the root: of one path (a file where a folder should be, a planted link, a folder that somebody
# else owns), or of this process (no descriptors left). A report that meets them must not stop everybody else's.
_NOT_THE_ROOT: Final = frozenset(
    {
        errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EFBIG,
        errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    }
)  # fmt: skip

# What a root suffers from that an operator named by mistake; waiting does not mend it.
_MISTAKES: Final = frozenset({errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM})


class Hung(Exception):
    """The root has not answered in time."""


class Unusable(Exception):
    """The root did not do it: `failure` says why; `root_works` when others may well succeed."""

    def __init__(
        self, failure: Full | Failed | InUse | OSError | Hung | Abandoned, *, root_works: bool = False
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.root_works = root_works


class Root:
    """A folder of the archive, `number` in the order of preference."""

    def __init__(
        self,
        number: int,
        name: str,
        files: Files,
        clock: Clock,
        *,
        hang_after: float = HANG_AFTER,
        threads: int = THREADS,
    ) -> None:
        self.number = number
        self.name = name
        self.files = files
        self.health: Health = "failing"
        self.error = "not opened yet"
        self.mistake: OSError | None = None  # the last probe's failure, if it is of a kind that only an operator mends
        self.probed = 0.0  # when the last probe succeeded
        self.space: Space | None = None  # as that probe saw it
        self.hang_after = hang_after
        self._clock = clock
        self._threads = threads
        self._workers = Workers(f"archive-{number}", threads)
        self._probe_workers = Workers(f"archive-{number}-probe", 1)
        self._jobs: set[Job[Any]] = set()  # somebody waits for them
        self._hung: list[Job[Any]] = []  # nobody waits any more, and a thread is still stuck in them
        self._watch: asyncio.TimerHandle | None = None
        self._probe: Job[Space] | None = None
        self._worsened = asyncio.Event()
        self._stopped = False

    @property
    def home(self) -> bool:
        return self.number == 0

    def describe(self) -> str:
        """One line for people."""
        if self.health != "ok":
            return f"{self.name}: {self.health} ({self.error})"
        return f"{self.name}: ok" + (f", {format_size(self.space.available)} free" if self.space else "")

    # ---- jobs ------------------------------------------------------------------------------------------------------

    async def run(self, call: Callable[[Ticket], T]) -> T:
        """Runs `call` in a worker, for at most HANG_AFTER seconds. Time spent waiting for a free worker does not count.

        Raises:
            Unusable: it failed for want of space, by an error of the disk, or hung; the root's health says so from now
                on, unless the fault is not the root's.
            Refused: what the job itself refuses, such as Exists.
        """
        try:
            return await self._answer(self._submit(Job(call)))
        except (Full, InUse, OSError, Hung, Abandoned) as error:
            raise self._judged(error) from error

    async def ask(self, call: Callable[[], T]) -> T:
        """Like `run()` for what only reads: an unreadable file says nothing about whether others can be written.

        Raises:
            OSError: as the kernel said.
            Unusable: it hung.
        """
        try:
            return await self._answer(self._submit(Job(lambda _ticket: call())))
        except (Hung, Abandoned) as error:
            raise Unusable(error) from error

    def later(self, call: Callable[[], None]) -> "asyncio.Future[None]":
        """Runs `call`, which tidies up, as soon as a worker is free; nobody has to wait for it, and nothing prevents it."""
        job = self._submit(Job(lambda _ticket: call(), tidies_up=True))
        job.answer.add_done_callback(lambda _answer: self._jobs.discard(job))
        return job.answer

    def _submit(self, job: Job[T]) -> Job[T]:
        if self._stopped:
            raise Refused("shutting_down")
        self._jobs.add(job)
        self._workers.put(job)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(self.hang_after / 5, self._look_for_hung_jobs)
        return job

    async def _answer(self, job: Job[T]) -> T:
        try:
            return await job.answer
        except asyncio.CancelledError:
            job.ticket.abandon()
            raise
        finally:
            self._jobs.discard(job)

    def _look_for_hung_jobs(self) -> None:
        self._watch = None
        overdue = [job for job in self._jobs if job.overdue(self.hang_after)]
        if overdue:
            self._hung = [job for job in self._hung if not job.ended] + overdue
            self._set("hanging", f"no answer within {self.hang_after:g} s")
            hung = Hung(self.error)
            for job in [job for job in self._jobs if job.started is None or job in overdue]:
                job.give_up(hung)
        if self._jobs:
            self._watch = asyncio.get_running_loop().call_later(self.hang_after / 5, self._look_for_hung_jobs)

    # ---- health ----------------------------------------------------------------------------------------------------

    def _judged(self, error: Full | InUse | OSError | Hung | Abandoned) -> Unusable:
        """What `error` means for the root, which is noted, and for the caller."""
        if isinstance(error, InUse | Tight) or (isinstance(error, OSError) and error.errno in _NOT_THE_ROOT):
            return Unusable(error, root_works=True)
        if isinstance(error, Full):
            self._set("full", error.detail)
        elif isinstance(error, OSError):
            self._set("full" if error.errno in FULL_ERRNOS else "failing", str(error))
        return Unusable(error)

    def _set(self, health: Health, error: str) -> None:
        self.health = health
        self.error = error
        if health != "ok":
            self._worsened.set()

    async def probe(self) -> None:
        """Finds out whether the root works, and says so in `health`; returns when that is known. Callers share a probe."""
        if self._stopped:
            return
        if self._probe is None:
            # Once full, it has to prove that there is room: a quota does not show in what the file system says is free.
            size = ROOM if self.health == "full" else PROBE_SIZE
            self._probe = Job(lambda _ticket: self.files.probe(size))
            self._probe.answer.add_done_callback(self._learn)
            self._probe_workers.put(self._probe)
        done, _ = await asyncio.wait({self._probe.answer}, timeout=self.hang_after)
        if not done:  # it goes on; when it is answered after all, the root works again
            self._set("hanging", f"no answer within {self.hang_after:g} s")

    def _learn(self, answer: "asyncio.Future[Space]") -> None:
        self._probe = None
        error = answer.exception()
        if error is None:
            self._hung = [job for job in self._hung if not job.ended]
            if len(self._hung) < self._threads:
                self.mistake = None
                self.probed = self._clock()
                self.space = answer.result()
                self._set("ok", "")
        elif isinstance(error, NotOurs | Failed):
            self.mistake = None
            self._set("refused", error.detail if isinstance(error, Failed) else str(error))
        elif isinstance(error, Full):
            self._set("full", error.detail)
        elif isinstance(error, OSError):
            self.mistake = error if error.errno in _MISTAKES else None
            self._set("full" if error.errno in FULL_ERRNOS else "failing", str(error))
        else:
            self._set("failing", repr(error))

    async def peek(self, call: Callable[[], T]) -> T:
        """Makes a call before the root is known to be ours.

        Raises:
            Hung: no answer in time.
            Exception: as `call` does.
        """
        job = Job(lambda _ticket: call())
        self._probe_workers.put(job)
        done, _ = await asyncio.wait({job.answer}, timeout=self.hang_after)
        if not done:
            raise Hung(f"no answer within {self.hang_after:g} s")
        return job.answer.result()

    async def keep_probing(self) -> None:
        """Probes now and then, and soon after something went wrong."""
        while True:
            if self.health == "ok":
                self._worsened.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_EVERY):
                        await self._worsened.wait()
            else:
                await asyncio.sleep(PROBE_SOON)
            await self.probe()

    def stop(self) -> None:
        """Takes nothing more; what is queued is done as far as the root answers."""
        if self._stopped:
            return
        self.later(self.files.release)
        self._stopped = True
        self._workers.stop()
        self._probe_workers.stop()


def refusal(roots: Sequence[Root], failures: Sequence[tuple[Root, Unusable]]) -> Full | Failed:
    """What the sender is told when none of `roots` took it; `failures` are those that were tried."""
    tried = dict(failures)
    detail = "; ".join(f"{root.name}: {tried[root]}" if root in tried else root.describe() for root in roots)
    full = any(isinstance(failure.failure, Full) for failure in tried.values()) or any(
        root.health == "full" for root in roots
    )
    return Full(detail) if full else Failed(detail)


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

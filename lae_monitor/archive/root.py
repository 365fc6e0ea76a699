"""One archive root, its workers and its health.

A root is `ok`, `full`, `failing` or `hanging`. Only one that is ok is written to; a probe finds out when it is again. Each
root has threads of its own, so that one that hangs delays nobody else.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from lae_monitor.archive.errors import FULL_ERRNOS, ArchiveError, Full
from lae_monitor.archive.files import Abandoned, Files, Ticket
from lae_monitor.archive.workers import Workers
from lae_monitor.core.time import Clock

T = TypeVar("T")

Health = Literal["ok", "full", "failing", "hanging"]

THREADS: Final = 8  # writers a root; more gain nothing (journal commits are shared by then)
HANG_AFTER: Final = 5.0  # seconds for one job; a healthy disk needs milliseconds, a busy one 0.1 s
PROBE_EVERY: Final = 5.0  # seconds while all is well
PROBE_SOON: Final = 0.5  # seconds while it is not
PROBE_STALE: Final = 15.0  # seconds after which a probe's result says nothing any more


class Unusable(Exception):
    """This root did not do it: `failure` says why."""

    def __init__(self, failure: ArchiveError | OSError | TimeoutError | Abandoned) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Root:
    """A folder of the archive, `number` in the order of preference."""

    def __init__(self, number: int, name: str, files: Files, clock: Clock) -> None:
        self.number = number
        self.name = name
        self.files = files
        self.health: Health = "ok"
        self.error = ""
        self.probed = 0.0  # when the last probe succeeded
        self._clock = clock
        self._workers = Workers(f"archive-{number}", THREADS)
        self._probe_workers = Workers(f"archive-{number}-probe", 1)

    @property
    def home(self) -> bool:
        return self.number == 0

    async def run(self, job: Callable[[Ticket], T]) -> T:
        """Runs `job` in a worker, for at most HANG_AFTER seconds.

        Raises:
            Unusable: it failed for want of space, by an error of the disk, or hung; the root's health says so from now on.
            Refused: what the job itself refuses, such as Exists.
        """
        return await self._run(self._workers, job)

    async def _run(self, workers: Workers, job: Callable[[Ticket], T]) -> T:
        ticket = Ticket()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(workers.submit(lambda: job(ticket))), HANG_AFTER)
        except TimeoutError as error:
            ticket.abandon()
            self._set("hanging", f"no answer within {HANG_AFTER:.0f} s")
            raise Unusable(error) from error
        except Full as error:
            self._set("full", error.detail)
            raise Unusable(error) from error
        except OSError as error:
            self._set("full" if error.errno in FULL_ERRNOS else "failing", str(error))
            raise Unusable(error) from error
        except Abandoned as error:
            raise Unusable(error) from error

    def _set(self, health: Health, error: str) -> None:
        self.health = health
        self.error = error

    async def probe(self) -> None:
        """Finds out whether the root works, and says so in `health`."""
        try:
            await self._run(self._probe_workers, self.files.probe)
        except Unusable:
            return
        self._set("ok", "")
        self.probed = self._clock()

    async def keep_probing(self) -> None:
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_EVERY if self.health == "ok" else PROBE_SOON)

    def stop(self) -> None:
        self._workers.stop()
        self._probe_workers.stop()

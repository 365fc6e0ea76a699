"""Threads that may get stuck: a hung network mount must not stop the process from answering, nor from ending.

The standard executor joins its threads at exit, and would wait for a dead NFS server for ever.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Abandoned(Exception):
    """The caller has given up waiting for the job, and went to another root."""


class Ticket:
    """Lets a job that hung find out, when it goes on, that nobody wants its result any more."""

    def __init__(self) -> None:
        self.abandoned = False

    def abandon(self) -> None:
        self.abandoned = True

    def check(self) -> None:
        if self.abandoned:
            raise Abandoned


class Job(Generic[T]):
    """A call that a worker makes, and the future that gets its result in the loop that asked for it.

    An abandoned job that no worker has begun is not run, unless it tidies up; one that hangs is left to itself.
    """

    def __init__(self, call: Callable[[Ticket], T], *, tidies_up: bool = False) -> None:
        self.ticket = Ticket()
        self.started: float | None = None  # by time.monotonic(), when a worker took it
        self.ended = False
        self._call = call
        self._tidies_up = tidies_up
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()

    def __call__(self) -> None:
        """In a worker."""
        result: T | None = None
        failure: BaseException | None = None
        try:
            if not self._tidies_up:
                self.ticket.check()
            self.started = time.monotonic()
            result = self._call(self.ticket)
        except BaseException as error:  # noqa: BLE001 - it goes to the caller that waits for the result
            failure = error
        self.ended = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._finish, result, failure)

    def _finish(self, result: T | None, failure: BaseException | None) -> None:
        if self.answer.done():
            return
        if failure is None:
            self.answer.set_result(cast(T, result))
        else:
            self.answer.set_exception(failure)
            self.answer.exception()  # so that asyncio does not complain when nobody waits any more

    def give_up(self, reason: BaseException) -> None:
        """Answers with `reason`, whatever the call may still do."""
        self.ticket.abandon()
        self._finish(None, reason)

    def overdue(self, limit: float) -> bool:
        return self.started is not None and time.monotonic() - self.started > limit


class Workers:
    """Up to `threads` daemon threads that run jobs in the order given."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Runs `call`; the future gets its result."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it goes to the caller that waits for the result
                future.set_exception(error)
            else:
                future.set_result(result)

        self.put(run)
        return future

    def put(self, job: Callable[[], None]) -> None:
        """Runs `job`, which handles its own errors."""
        self._jobs.put(job)
        if len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or its result lives until the next one comes

    def stop(self) -> None:
        """Lets the threads end when what is queued is done; does not wait for those that hang."""
        for _ in self._threads:
            self._jobs.put(None)


# A descriptor that is never closed while a call uses it.
#
# A worker can hang in a write. If its descriptor were closed meanwhile, the number would be given to the next file that is
# opened, and when the worker goes on, its next write would land there.
class OpenFile:
    """Opened at its first use; one worker uses it at a time.

    Args:
        opener: opens it; in a worker.
        closer: closes it, once; in a worker.
    """

    def __init__(self, opener: Callable[[], int], closer: Callable[[int], None]) -> None:
        self._opener = opener
        self._closer = closer
        self._fd: int | None = None
        self._lock = threading.Lock()
        self._busy = False
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[int]:
        """
        Raises:
            Abandoned: it was closed, or a worker hangs with it.
            OSError: it could not be opened.
        """
        with self._lock:
            if self._closed or self._busy:
                raise Abandoned
            self._busy = True
        try:
            if self._fd is None:
                self._fd = self._opener()
            yield self._fd
        finally:
            with self._lock:
                self._busy = False
                close = self._closed
            if close:
                self._let_go()

    def close(self) -> None:
        """In a worker: closes the file now, or as soon as the worker that uses it goes on."""
        with self._lock:
            self._closed = True
            if self._busy:
                return
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            self._closer(fd)

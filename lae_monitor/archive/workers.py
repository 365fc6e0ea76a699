"""Threads that may get stuck: a hung network mount must not stop the process from answering, nor from ending.

The standard executor joins its threads at exit, and would wait for a dead NFS server for ever.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """Up to `threads` daemon threads that run jobs in the order given."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits for the result
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(run)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._idle.release()

    def stop(self) -> None:
        """Lets the threads end when what is queued is done; does not wait for those that hang."""
        for _ in self._threads:
            self._jobs.put(None)

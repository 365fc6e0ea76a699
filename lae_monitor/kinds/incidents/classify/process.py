"""The child process that classifies, as seen from here: started when it is needed, killed when it takes too long.

What hangs, crashes, or takes all memory costs only its own opinion: the child is started anew and asked without it. What did
so a few times is not asked any more until the rules change.
"""

import asyncio
import mmap
import os
import signal
import struct
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Final

import msgspec

from lae_monitor.kinds.incidents.classify.frames import (
    MAX_ANSWER,
    SETTING_UP,
    STEP_SIZE,
    Loaded,
    Opinion,
    Question,
    Setup,
    frame,
)
from lae_monitor.kinds.incidents.classify.sources import Sources

MODULE: Final = "lae_monitor.kinds.incidents.classify.child"
STRIKES: Final = 3  # incidents at which a step had to be killed, until it is not asked any more
MAX_KILLS: Final = 5  # for one incident; beyond, it stays without an answer
START: Final = 30.0  # seconds for Python to start and everything to be loaded, on a busy machine
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ")  # of the environment; no credentials


class ChildFailed(Exception):
    """The child process does not start; whatever the incident, there is no answer now."""


class _Died(Exception):
    """It was killed, or ended, while it was at `step`."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(why)
        self.step = step
        self.why = why


class Classifier:
    """Asks about one incident after the other.

    Args:
        sources: the classifiers, and rules that are right.
        limit: seconds for one incident.
        start: seconds for loading them.
        loud: what classifiers print appears on standard error.

    Attributes:
        loaded: what was loaded, and which classifiers are broken. Known once it was started.
    """

    def __init__(self, sources: Sources, limit: float, *, start: float = START, loud: bool = False) -> None:
        self.sources = sources
        self.loaded = Loaded()
        self._limit = limit
        self._start = start
        self._loud = loud
        self._broken: dict[str, str] = {}  # classifiers that hang when they are loaded
        self._strikes: Counter[int] = Counter()
        self._process: asyncio.subprocess.Process | None = None
        self._steps: mmap.mmap | None = None

    async def start(self) -> Loaded:
        """Starts the child, if none runs.

        Raises:
            ChildFailed
        """
        while self._process is None:
            setup = Setup(
                rules=self.sources.rules,
                source=self.sources.source,
                classifiers=list(self.sources.classifiers),
                skip=list(self._broken),
                limit=self._limit,
                start=self._start,
            )
            try:
                await self._launch()
                answer = await self._exchange([msgspec.json.encode(setup)], self._start)
            except OSError as error:
                await self.stop()
                raise ChildFailed(f"the process that classifies does not start: {error}") from error
            except _Died as died:
                await self.stop()
                if not 0 <= died.step < len(self.sources.classifiers):
                    raise ChildFailed(f"the process that classifies does not start: {died.why}") from None
                self._broken[self.sources.classifiers[died.step][0]] = died.why
            else:
                self.loaded = msgspec.json.decode(answer, type=Loaded)
                self.loaded.broken |= self._broken
        return self.loaded

    async def classify(self, cluster: str, host: str, data: bytes) -> Opinion:
        """What the incident in the file `data` is called.

        Raises:
            ChildFailed
        """
        failed: dict[str, str] = {}
        skip = {step for step, strikes in self._strikes.items() if strikes >= STRIKES}
        for _ in range(MAX_KILLS):
            await self.start()
            # str(): names have types of their own, which msgspec does not encode.
            question = Question(cluster=str(cluster), host=str(host), skip=sorted(skip))
            try:
                answer = await self._exchange([msgspec.json.encode(question), data], self._limit)
                opinion = msgspec.json.decode(answer, type=Opinion)
            except (_Died, msgspec.MsgspecError) as error:
                await self.stop()
                if not isinstance(error, _Died):
                    return Opinion(failed=failed, error="the process that classifies answered nonsense")
                if not 0 <= error.step < len(self.loaded.steps):
                    return Opinion(failed=failed, error=f"reading it {error.why}")
                skip.add(error.step)
                self._strikes[error.step] += 1
                failed[self.loaded.steps[error.step]] = error.why
                continue
            for step in range(self.loaded.rules):
                self._strikes[step] += self.loaded.steps[step] in opinion.failed  # its search was stopped
            opinion.failed |= failed
            return opinion
        return Opinion(failed=failed, error=f"the process that classifies was killed {MAX_KILLS} times")

    @property
    def given_up(self) -> list[str]:
        """The steps that are not asked any more."""
        return [self.loaded.steps[step] for step, strikes in self._strikes.items() if strikes >= STRIKES]

    async def _launch(self) -> None:
        fd = os.memfd_create("step")
        try:
            os.truncate(fd, STEP_SIZE)
            self._steps = mmap.mmap(fd, STEP_SIZE)
            self._steps[:STEP_SIZE] = struct.pack(">i", SETTING_UP)
            self._process = await asyncio.create_subprocess_exec(
                *_command(fd),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self._loud else subprocess.DEVNULL,
                pass_fds=[fd],
                cwd="/",
                env=_environment(),
                start_new_session=True,  # what classifiers start goes with them
            )
        finally:
            os.close(fd)

    async def _exchange(self, frames: list[bytes], seconds: float) -> bytes:
        """
        Raises:
            _Died
        """
        try:
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may swallow a cancellation
                return await self._talk(frames)
        except TimeoutError:
            raise _Died(self._step(), f"took longer than {seconds:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            ended = await self._reap()
            raise _Died(self._step(), f"ended the process that classifies ({ended})") from None

    async def _talk(self, frames: list[bytes]) -> bytes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise ConnectionError
        for one in frames:
            process.stdin.write(frame(one))
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(4), "big")
        if size > MAX_ANSWER:
            raise ValueError
        return await process.stdout.readexactly(size)

    def _step(self) -> int:
        found: int = struct.unpack(">i", self._steps[:STEP_SIZE])[0] if self._steps is not None else SETTING_UP
        return found

    async def _reap(self) -> str:
        """How the process ended, in words."""
        self._kill()
        code = await self._process.wait() if self._process is not None else 0
        if code == -signal.SIGKILL:
            return "killed, or it answered nonsense"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Ends the child; the next question starts another one."""
        if self._process is not None:
            self._kill()
            await self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        if self._steps is not None:
            self._steps.close()
            self._steps = None


def load_blocking(sources: Sources, limit: float) -> Loaded:
    """What is wrong with the sources, found out in a child that ends at once; blocks for START seconds at most.

    Raises:
        ChildFailed
    """

    async def look() -> Loaded:
        classifier = Classifier(sources, limit)
        try:
            return await classifier.start()
        finally:
            await classifier.stop()

    return asyncio.run(look())


def _command(fd: int) -> list[str]:
    return [sys.executable, "-P", "-m", MODULE, str(fd)]


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}

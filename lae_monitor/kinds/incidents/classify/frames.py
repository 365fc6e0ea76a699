"""What is said between the process that classifies and the one that asks it."""

import struct
from typing import BinaryIO, Final

import msgspec

from lae_monitor.core.limits import MiB

MAX_FRAME: Final = 80 * MiB  # a file has up to 64
MAX_ANSWER: Final = 4 * MiB  # of what is taken from the child: 1,000 rules with 50 categories each are 3
SLOW: Final = 0.25  # seconds of one rule or classifier with one incident, from which on it is told
STEP_SIZE: Final = 4  # bytes of shared memory: the number of what it is at
# What is not the number of a rule or classifier. While classifiers are loaded, they count from 0.
READING: Final = -1
SETTING_UP: Final = -2


class Setup(msgspec.Struct, kw_only=True):
    """What to load. `rules`: TOML, "" for none, from `source`; `classifiers`: names and contents; `skip`: some of them.

    `limit`: seconds for one incident; `start`: for loading.
    """

    rules: str = ""
    source: str = ""
    classifiers: list[tuple[str, str]] = []
    skip: list[str] = []
    limit: float
    start: float


class Loaded(msgspec.Struct, kw_only=True):
    """What was loaded: `steps`, of which the first `rules` are rules; `broken` classifiers, and why."""

    steps: list[str] = []
    rules: int = 0
    broken: dict[str, str] = {}


class Question(msgspec.Struct, kw_only=True):
    """Of which host an incident is; `skip`: numbers of steps that are left out."""

    cluster: str = ""
    host: str = ""
    skip: list[int] = []


class Opinion(msgspec.Struct, kw_only=True):
    """What each step that knew the incident calls it; which failed, and why; which were slow, in seconds."""

    by: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    slow: dict[str, float] = {}
    error: str = ""

    @property
    def categories(self) -> list[str]:
        """All answers together, sorted."""
        return sorted({category for answer in self.by.values() for category in answer})


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def read_frame(file: BinaryIO) -> bytes:
    """
    Raises:
        EOFError: there is no more.
    """
    (size,) = struct.unpack(">I", _exactly(file, 4))
    return _exactly(file, size)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def write_frame(file: BinaryIO, data: bytes) -> None:
    waiting = memoryview(frame(data))
    while waiting:
        waiting = waiting[file.write(waiting) :]

"""What engines are given, and how they fail. One SQL dialect, ClickHouse's; a server is a second driver, not a rewrite."""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

Parameter = str | int | float | Sequence[str]

MEMORY_LIMIT: Final = 241  # ClickHouse: the query, or the whole engine, would exceed its memory
TIMEOUT: Final = 159
NO_SPACE: Final = 243
NO_PART: Final = 232
BAD_PATTERN: Final = 427  # CANNOT_COMPILE_REGEXP

# Not the statement's fault: it may pass when the disk, memory, threads or descriptors are there again.
_ENVIRONMENT: Final = {
    MEMORY_LIMIT, TIMEOUT, NO_SPACE,
    173,  # CANNOT_ALLOCATE_MEMORY
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    236,  # ABORTED
    252,  # TOO_MANY_PARTS: merges are behind
    439,  # CANNOT_SCHEDULE_TASK: no threads
}  # fmt: skip
_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
                  errno.EACCES, errno.EPERM)  # fmt: skip
_WORDS: Final = re.compile("|".join(rf"{re.escape(os.strerror(number))}|errno: {number}\b" for number in _ERRNOS))

# What the engine says of files whose content is not what it wrote.
_DAMAGED: Final = {
    32,  # ATTEMPT_TO_READ_AFTER_EOF
    33,  # CANNOT_READ_ALL_DATA
    40,  # CHECKSUM_DOESNT_MATCH
    89,  # UNKNOWN_COMPRESSION_METHOD
    107,  # FILE_DOESNT_EXIST
    226,  # NO_FILE_IN_DATA_PART
    228,  # BAD_SIZE_OF_FILE_IN_DATA_PART
    246,  # CORRUPTED_DATA
    271,  # CANNOT_DECOMPRESS
}
DAMAGED_HELP: Final = (
    "A part of the store is damaged. serve looks for it and reads its rows from the archive again, by itself; "
    "if this is still so in some minutes: lae-monitor store rebuild"
)


def is_environment(text: str) -> bool:
    """Whether an error's text names the disk, memory, descriptors or rights, not the store."""
    return _WORDS.search(text) is not None


class StoreError(Exception):
    """The engine refused or failed; `code` is ClickHouse's, 0 when it gave none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code

    @property
    def transient(self) -> bool:
        """Whether the environment is to blame: wait, touch nothing; the same statement may pass later."""
        return self.code in _ENVIRONMENT or is_environment(str(self))

    @property
    def in_use(self) -> bool:
        """Whether another process has the store open."""
        return "Another server instance" in str(self) or "Cannot lock file" in str(self)

    @property
    def is_damage(self) -> bool:
        """Whether a file of the store is not as it was written."""
        return self.code in _DAMAGED and not self.transient


class NewerStore(StoreError):
    """A newer release wrote the store: it is left alone."""


class Batch(NamedTuple):
    """Rows on their way into the engine: the columns with the engine's types, and an Arrow IPC stream."""

    columns: Mapping[str, str]
    arrow: bytes


def parameter_text(value: Parameter) -> str:
    """`value` as ClickHouse reads parameters: escaped as in TSV, arrays in brackets."""
    if isinstance(value, str):
        return _escape(value)
    if isinstance(value, Sequence):
        return "[" + ",".join("'" + _escape(item).replace("'", "\\'") + "'" for item in value) + "]"
    return str(value)


def _escape(text: str) -> str:
    return (
        text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0")
    )

"""What the archive answers when it cannot keep its promise."""

import errno

from lae_monitor.core.refusals import Refused


class ArchiveError(Refused):
    """Nothing was acknowledged; what was written is gone or will be at the next start."""


class Full(ArchiveError):
    """No root has room above its reserve."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("no_space", detail)


class Tight(Full):
    """A root has room above its reserve, but not for something as large as this."""


class Failed(ArchiveError):
    """No root could make it durable."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("archive_failed", detail)


class Exists(ArchiveError):
    """A file of that name is there already, whole and durable."""

    def __init__(self, path: str) -> None:
        super().__init__("already_stored", path)


class InUse(Exception):
    """A growing file that somebody else writes to, or removed: what belongs there goes into a numbered file beside it."""


class NameUncertain(OSError):
    """Naming a whole file failed, or making its name durable: it may be there, unacknowledged."""


FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})

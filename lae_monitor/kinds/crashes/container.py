"""The zip that holds one crash: entries stored as they are, names checked before. No I/O."""

import io
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from typing import Final

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.limits import MAX_FILES

MODE: Final = 0o100600  # a regular file, its owner's
STORED: Final = 0  # not compressed
SIZES_FOLLOW: Final = 8  # a flag: size and checksum stand behind the data
MADE_BY: Final = 3 << 8 | 20  # Unix, version 2.0: the mode counts
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_LOCAL_BEGIN: Final = (b"PK\x03\x04", 20)
_DESCRIPTOR: Final = struct.Struct("<4s3I")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")


def path_of(crash_id: CrashId) -> str:
    """Where a crash lies in the archive."""
    return f"crashes/{crash_id.day}/{crash_id}.zip"


class Writer:
    """Makes the zip piece by piece; each piece goes to `sink` as soon as it is known.

    Size and checksum follow an entry's data where they are not known before it, as the zip format has it for writers that
    cannot seek. Source of the format: PKWARE's APPNOTE, sections 4.3.7 to 4.3.16; entries are stored, below 4 GiB.
    """

    def __init__(self, sink: Callable[[bytes], None], received: float) -> None:
        self._sink: Callable[[bytes], None] | None = sink
        self._time = _dos_time(received)
        self._at = 0  # bytes written
        self._directory: list[bytes] = []
        self._name = b""  # of the entry that is being written
        self._begun_at = 0
        self._size = 0
        self._crc = 0

    def begin(self, name: str) -> None:
        """Begins an entry; `name` is plain ASCII, and checked."""
        self._name = name.encode("ascii")
        self._begun_at, self._size, self._crc = self._at, 0, 0
        self._put(
            _LOCAL.pack(*_LOCAL_BEGIN, SIZES_FOLLOW, STORED, *self._time, 0, 0, 0, len(self._name), 0) + self._name
        )

    @property
    def at(self) -> int:
        """How many bytes went to the sink."""
        return self._at

    def write(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._put(data)

    def end(self) -> None:
        self._put(_DESCRIPTOR.pack(b"PK\x07\x08", self._crc, self._size, self._size))
        self._list(SIZES_FOLLOW)

    def add(self, name: str, data: bytes) -> None:
        """A whole entry."""
        self._name = name.encode("ascii")
        self._begun_at, self._size, self._crc = self._at, len(data), zlib.crc32(data)
        sizes = (self._crc, self._size, self._size)
        self._put(_LOCAL.pack(*_LOCAL_BEGIN, 0, STORED, *self._time, *sizes, len(self._name), 0) + self._name + data)
        self._list(0)

    def finish(self) -> None:
        """Writes the directory: the zip is whole then."""
        directory = b"".join(self._directory)
        count = len(self._directory)
        self._put(directory + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), self._at, 0))

    def abandon(self) -> None:
        """Lets go of a zip, finished or not: nothing goes to the sink any more."""
        self._sink = None

    def _put(self, data: bytes) -> None:
        if data and self._sink is not None:
            self._sink(data)
            self._at += len(data)

    def _list(self, flags: int) -> None:
        sizes = (self._crc, self._size, self._size)
        self._directory.append(
            _CENTRAL.pack(
                b"PK\x01\x02",
                MADE_BY,
                20,
                flags,
                STORED,
                *self._time,
                *sizes,
                len(self._name),
                0,
                0,
                0,
                0,
                MODE << 16,
                self._begun_at,
            )
            + self._name
        )


def _dos_time(seconds: float) -> tuple[int, int]:
    """Time and date as MS-DOS had them, two seconds exact, in UTC; years before 1980 do not exist."""
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return hour << 11 | minute << 5 | second // 2, max(year - 1980, 0) << 9 | month << 5 | day


def entries(data: bytes) -> dict[str, memoryview]:
    """The files in a zip of ours, without copying them.

    Nothing is inflated, so the files together are never larger than `data`. Every byte has to be where `Writer` puts it:
    entries one after the other, their directory, its end, and nothing else.

    Raises:
        Refused: `unreadable` for what is no zip, or none of ours: compressed, encrypted, overlapping or damaged entries.
    """
    whole = memoryview(data)
    found: dict[str, memoryview] = {}
    at = 0  # where the next entry has to begin
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_FILES + 1:
                raise Refused("unreadable", "more entries than a crash has")
            for info in infos:
                content, at = _content(whole, info, at)
                if info.filename in found:
                    raise Refused("unreadable", "two entries of one name", raw=info.filename)
                if zlib.crc32(content) != info.CRC:
                    raise Refused("unreadable", "checksum", raw=info.filename)
                found[info.filename] = content
            _check_end(whole, at, len(infos))
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OSError, EOFError, KeyError) as error:
        raise Refused("unreadable", str(error)) from error
    return found


def _content(whole: memoryview, info: zipfile.ZipInfo, at: int) -> tuple[memoryview, int]:
    """The bytes of an entry that begins at `at`, and where the next one begins."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise Refused("unreadable", "not a stored entry", raw=info.filename)
    signature, name_size, extra_size = _LOCAL_HEADER.unpack_from(whole, at)
    name_at = at + _LOCAL_HEADER.size
    start = name_at + name_size + extra_size
    content = whole[start : start + info.file_size]
    same = info.header_offset == at and whole[name_at : name_at + name_size] == info.orig_filename.encode()
    if signature != b"PK\x03\x04" or not same or len(content) != info.file_size:
        raise Refused("unreadable", "damaged entry", raw=info.filename)
    return content, start + info.file_size + (_DESCRIPTOR.size if info.flag_bits & SIZES_FOLLOW else 0)


def _check_end(whole: memoryview, directory: int, count: int) -> None:
    """Checks that the zip ends with the end of its directory, which begins right after the entries."""
    signature, *disks, here, total, size, begin, comment = _END.unpack(whole[-_END.size :])
    is_last = signature == b"PK\x05\x06" and begin == directory and begin + size + _END.size == len(whole)
    if not is_last or disks != [0, 0] or not here == total == count or comment:
        raise Refused("unreadable", "damaged directory")

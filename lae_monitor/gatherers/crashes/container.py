"""The zip that holds one crash: entries stored as they are, names checked before. No I/O."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from lae_monitor.core.refusals import Refused
from lae_monitor.gatherers.crashes.limits import MAX_FILES

MODE: Final = 0o100600  # a regular file, its owner's
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")


class Writer:
    """Makes the zip piece by piece; each piece goes to `sink` as soon as it is known.

    Sizes and checksums follow each entry's data, as the zip format has it for writers that cannot seek.
    """

    def __init__(self, sink: Callable[[bytes], None], received: float) -> None:
        self._sink = _Sink(sink)
        self._zip = zipfile.ZipFile(cast(Any, self._sink), "w", zipfile.ZIP_STORED)
        self._time = datetime.fromtimestamp(received, UTC).timetuple()[:6]
        self._entry: Any = None

    def begin(self, name: str) -> None:
        info = zipfile.ZipInfo(name, self._time)
        info.external_attr = MODE << 16
        self._entry = self._zip.open(info, "w")

    def write(self, data: bytes) -> None:
        self._entry.write(data)

    def end(self) -> None:
        self._entry.close()
        self._entry = None

    def add(self, name: str, data: bytes) -> None:
        self.begin(name)
        self.write(data)
        self.end()

    def finish(self) -> None:
        self._zip.close()

    def abandon(self) -> None:
        """Lets go of a zip, finished or not: nothing goes to the sink any more, whatever zipfile does at its own end."""
        self._sink.close()
        if self._entry is not None:
            self.end()


class _Sink:
    """As much of a file as zipfile needs to write one after the other."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink: Callable[[bytes], None] | None = sink

    def write(self, data: bytes) -> int:
        if data and self._sink is not None:
            self._sink(data)
        return len(data)

    def close(self) -> None:
        self._sink = None

    def flush(self) -> None:
        pass


def entries(data: bytes) -> dict[str, memoryview]:
    """The files in a zip of ours, without copying them.

    Nothing is inflated, so the files together are never larger than `data`.

    Raises:
        Refused: `unreadable` for what is no zip, or none of ours: compressed, encrypted, overlapping or damaged entries.
    """
    whole = memoryview(data)
    found: dict[str, memoryview] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_FILES + 1 or sum(info.file_size for info in infos) > len(data):
                raise Refused("unreadable", "more entries, or longer ones, than a crash has")
            for info in infos:
                content = _content(whole, info)
                if info.filename in found:
                    raise Refused("unreadable", "two entries of one name", raw=info.filename)
                if zlib.crc32(content) != info.CRC:
                    raise Refused("unreadable", "checksum", raw=info.filename)
                found[info.filename] = content
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OSError, EOFError, KeyError) as error:
        raise Refused("unreadable", str(error)) from error
    return found


def _content(whole: memoryview, info: zipfile.ZipInfo) -> memoryview:
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise Refused("unreadable", "not a stored entry", raw=info.filename)
    signature, name_size, extra_size = _LOCAL_HEADER.unpack_from(whole, info.header_offset)
    start = info.header_offset + _LOCAL_HEADER.size + name_size + extra_size
    content = whole[start : start + info.file_size]
    if signature != b"PK\x03\x04" or len(content) != info.file_size:
        raise Refused("unreadable", "damaged entry", raw=info.filename)
    return content

"""How a crash report lies in an HTTP request: its media type, its compression, its names. No I/O.

Format: multipart/form-data as Breakpad, Crashpad and Firefox send it; see docs/crashes.md.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.limits import FREE_OF_RATIO, INFLATE_STEP, MAX_BOUNDARY, MAX_MEMBERS, MAX_RATIO

MULTIPART: Final = frozenset({"multipart/form-data", "multipart/mixed"})
BARE: Final = frozenset({"application/octet-stream", "application/x-dmp"})

MAGIC: Final = b"\x1f\x8b"  # a member of gzip begins so; RFC 1952, section 2.3.1

_PARAMETER: Final = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_ESCAPE: Final = re.compile(r"%(22|25|0[AaDd])")


class Part(NamedTuple):
    """The head of one part. `filename` is None, and `media` empty, when the part does not say.

    `plain`: it is an annotation in UTF-8 and nothing else, as most parts are.
    """

    name: str
    filename: str | None
    media: str
    charset: str
    plain: bool = False


def parameters(header: str) -> tuple[str, dict[str, str]]:
    """`multipart/form-data; Boundary="x"` -> its first word in lower case, and its parameters as they stand.

    The first of a name counts; names are in lower case.
    """
    value, semicolon, rest = header.partition(";")
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(semicolon + rest):
        found.setdefault(match[1].lower(), match[2].strip())
    return value.strip().lower(), found


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a report's Content-Type; None for a minidump that comes alone.

    Raises:
        Refused: `malformed_no_content_type`, `malformed_wrong_content_type`, `malformed_no_boundary`.
    """
    if not content_type:
        raise Refused("malformed_no_content_type")
    media, found = parameters(content_type)
    if media in BARE:
        return None
    if media not in MULTIPART:
        raise Refused("malformed_wrong_content_type", raw=content_type)
    boundary = unquoted(found.get("boundary", "")).encode("latin-1", "replace")
    if not 0 < len(boundary) <= MAX_BOUNDARY or b"\r" in boundary or b"\n" in boundary:
        raise Refused("malformed_no_boundary", raw=content_type)
    return boundary


def unquoted(value: str) -> str:
    """A parameter's value without its quotes."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def field_value(value: str) -> str:
    """A field or file name out of a Content-Disposition header.

    Crashpad escapes `"`, `%`, CR and LF as %22, %25, %0d and %0a and nothing else; Breakpad on Windows sends backslashes as
    they are.
    """
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if '\\"' in value:
        value = value.replace('\\"', '"').replace("\\\\", "\\")
    else:
        value = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value)
    return value.encode("latin-1", "replace").decode("utf-8", "replace").replace("\0", "")


def decoder(content_encoding: str, limit: int) -> "Plain | Inflater":
    """What decodes such a body, up to `limit` bytes.

    Raises:
        Refused: `malformed_unknown_encoding`.
    """
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return Plain()
    if encoding in {"gzip", "x-gzip"}:
        return Inflater("gzip", limit)
    if encoding == "deflate":
        return Inflater("deflate", limit)
    raise Refused("malformed_unknown_encoding", raw=content_encoding)


class Plain:
    """A body that is not compressed; its size has its limit already."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


class Inflater:
    """Inflates gzip (of any number of members) or deflate, 64 KiB at a time, and never beyond `limit`."""

    def __init__(self, form: Literal["gzip", "deflate"], limit: int) -> None:
        self.notes: list[str] = []
        self._form = form
        self._limit = limit
        self._taken = 0
        self._given = 0
        self._members = 0
        self._first = b""  # what came before there was enough to tell zlib from raw deflate, or a member from junk
        self._junk = False  # after the end
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes that `data` gives.

        Raises:
            Refused: `malformed_bad_gzip`, `inflates_too_far`.
        """
        self._taken += len(data)
        data, self._first = self._first + data, b""
        piece = b""
        while data or len(piece) == INFLATE_STEP:  # a full piece: there may be more inside
            if self._inflate is None:
                if len(data) < 2 and not self._junk:
                    self._first = data
                    return
                if self._is_junk(data):
                    self._junk = True
                    return
                self._inflate = self._new_member(data)
            inflate = self._inflate
            try:
                piece = inflate.decompress(data, INFLATE_STEP)
            except zlib.error as error:
                raise Refused("malformed_bad_gzip", str(error)) from error
            self._count(piece)
            data = inflate.unconsumed_tail
            if inflate.eof:
                data = inflate.unused_data
                self._inflate = None
                self._members += 1
            if piece:
                yield piece
            if inflate.eof:
                piece = b""

    def finish(self) -> None:
        """Checks that the end of the body is the end of the data; raises as `feed` does."""
        if self._inflate is not None or (self._taken and not self._members):
            raise Refused("malformed_bad_gzip", "ends early")
        if self._junk or self._first:
            self.notes.append("bytes after the end of the compressed data were dropped")

    def _is_junk(self, data: bytes) -> bool:
        """Whether what follows whole data is none: no member of gzip, as gzip(1) sees it, or anything after deflate."""
        return self._junk or (self._members > 0 and (self._form == "deflate" or not data.startswith(MAGIC)))

    def _new_member(self, data: bytes) -> "zlib._Decompress":
        if self._members >= MAX_MEMBERS:
            raise Refused("malformed_bad_gzip", f"more than {MAX_MEMBERS} members")
        if self._form == "gzip":
            return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        with_header = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # RFC 1950
        return zlib.decompressobj(wbits=zlib.MAX_WBITS if with_header else -zlib.MAX_WBITS)

    def _count(self, piece: bytes) -> None:
        self._given += len(piece)
        if self._given > self._limit:
            raise Refused("inflates_too_far", f"limit {self._limit} bytes")
        if self._given > FREE_OF_RATIO and self._given > MAX_RATIO * self._taken:
            raise Refused("inflates_too_far", f"more than {MAX_RATIO} times the compressed size")

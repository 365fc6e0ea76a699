"""The parts of a multipart body, as its pieces come. No I/O.

Bodies are cut here, at their boundary and in one pass; heads are read by the library `multipart`, once for all reports that
have the same. Tests hold both against the library's own parser. Format: RFC 2046, section 5.1.1, and RFC 7578.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.intake.wire import Part, field_value, parameters, unquoted
from lae_monitor.kinds.crashes.limits import (
    MAX_KEPT_HEAD,
    MAX_KEPT_HEADS,
    MAX_PART_HEADER,
    MAX_PART_HEADERS,
    MAX_PARTS,
    MAX_PREAMBLE,
)

PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})
MAX_HEAD: Final = MAX_PART_HEADERS * MAX_PART_HEADER

Whole = tuple[Part, bytes]
Event = Part | bytes | None | Whole  # a part begins, goes on, ends; or all of it at once

_PREAMBLE, _HEAD, _BODY, _OVER = range(4)


class Parts:
    """Cuts a body into its parts.

    Raises from `feed` and `finish`:
        Refused: `malformed_invalid_payload_structure`, `malformed_too_many_parts`.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._rest = b""  # what is not decided yet
        self._state = _PREAMBLE
        self._skipped = 0  # bytes of the preamble
        self._count = 0
        self._part: Part | None = None  # the head of a part of which nothing was told yet

    def feed(self, data: bytes) -> Iterator[Event]:
        """What `data` adds, in order."""
        buffer = self._rest + data if self._rest else data
        at = 0
        while self._state != _OVER:
            if self._state == _BODY:
                end = buffer.find(self._delimiter, at)
                if end < 0:
                    break
                following = end + len(self._delimiter)
                if len(buffer) < following + 2:
                    break
                yield from self._ended(buffer[at:end])
                at = self._after(buffer, following)
            elif self._state == _HEAD:
                end = buffer.find(b"\r\n\r\n", at)
                if end < 0 or end - at > MAX_HEAD:
                    self._check_head(buffer, at)
                    break
                self._begin(buffer[at:end])
                at = end + 4
            else:
                at = self._skip_preamble(buffer)
                if self._state == _PREAMBLE:
                    break
        if self._state == _BODY:
            sure = self._undecided_from(buffer, at)
            if sure > at:
                yield from self._begun()
                yield buffer[at:sure]
                at = sure
        self._rest = b"" if self._state == _OVER else buffer[at:]

    def finish(self) -> None:
        """Checks that the last boundary has come."""
        if self._state != _OVER:
            raise _broken("ends early")

    def _begin(self, head: bytes) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise Refused("malformed_too_many_parts", f"limit {MAX_PARTS}")
        self._part = (_kept_part if len(head) <= MAX_KEPT_HEAD else _read_head)(head)
        self._state = _BODY

    def _begun(self) -> Iterator[Part]:
        if self._part is not None:
            yield self._part
            self._part = None

    def _ended(self, last: bytes) -> Iterator[Event]:
        if self._part is not None:
            yield self._part, last
            self._part = None
            return
        if last:
            yield last
        yield None

    def _after(self, buffer: bytes, at: int) -> int:
        """Where it goes on after a boundary that ends at `at`."""
        tail = buffer[at : at + 2]
        if tail == b"\r\n":
            self._state = _HEAD
        elif tail == b"--":
            self._state = _OVER
        else:
            raise _broken("unexpected bytes after a boundary")
        return at + 2

    def _check_head(self, buffer: bytes, at: int) -> None:
        """
        Raises:
            Refused: what has come of a head can be none.
        """
        if len(buffer) - at >= MAX_HEAD + 4:  # its end included
            raise _broken("the head of a part is too large")
        if buffer.startswith(b"\r\n", at):
            raise _broken("a part without a head")

    def _skip_preamble(self, buffer: bytes) -> int:
        """Where it goes on: after the first boundary, which stands first or on its own line, else at what may be one."""
        boundary = self._delimiter[2:]
        found = buffer.find(boundary)
        keep = max(0, len(buffer) - len(self._delimiter) - 1) if found < 0 else 0
        self._skipped += keep
        if self._skipped + max(found, 0) > MAX_PREAMBLE:
            raise _broken("no boundary")
        if found < 0:
            return keep
        if self._skipped + found and buffer[max(0, found - 2) : found] != b"\r\n":
            raise _broken("unexpected bytes before the first boundary")
        following = found + len(boundary)
        return self._after(buffer, following) if len(buffer) >= following + 2 else 0

    def _undecided_from(self, buffer: bytes, at: int) -> int:
        """Where the bytes begin that may be the beginning of a boundary; the buffer's end when there are none."""
        found = buffer.find(self._delimiter, at)
        if found >= 0:
            return found
        found = buffer.rfind(b"\r", max(at, len(buffer) - len(self._delimiter) + 1))
        return found if found >= 0 and self._delimiter.startswith(buffer[found:]) else len(buffer)


def _broken(detail: str) -> Refused:
    return Refused("malformed_invalid_payload_structure", detail)


def _read_head(head: bytes) -> Part:
    """
    Raises:
        Refused: `malformed_invalid_payload_structure`.
    """
    reader = PushMultipartParser(
        b"B",
        max_header_size=MAX_PART_HEADER,
        max_header_count=MAX_PART_HEADERS,
        header_charset="latin-1",  # any byte; names are decoded as UTF-8 afterwards
    )
    try:
        segment = next(reader.parse(b"--B\r\n" + head + b"\r\n\r\n"))
    except MultipartError as error:
        raise _broken(str(error)) from error
    if not isinstance(segment, MultipartSegment):
        raise _broken("a part without a head")
    encoding = segment.header("Content-Transfer-Encoding", "").strip().lower()
    if encoding not in PLAIN_ENCODINGS:
        raise Refused("malformed_invalid_payload_structure", "Content-Transfer-Encoding", raw=encoding)
    _, disposition = parameters(segment.header("Content-Disposition"))
    media, content = parameters(segment.header("Content-Type", ""))
    filename = disposition.get("filename")
    if filename is None and "filename*" in disposition:
        filename = unquote(disposition["filename*"].rpartition("'")[2], encoding="latin-1")
    name, charset = field_value(disposition.get("name", "")), unquoted(content.get("charset", "")).lower()
    plain = bool(name) and name != "extra" and filename is None and not media and not charset
    return Part(name, None if filename is None else field_value(filename), media, charset, plain)


_kept_part = lru_cache(MAX_KEPT_HEADS)(_read_head)

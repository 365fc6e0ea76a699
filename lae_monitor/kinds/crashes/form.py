"""A crash report as a client sends it: multipart/form-data, names escaped as Crashpad does. Pure. See docs/crashes.md."""

import json
import re
import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from lae_monitor import __version__
from lae_monitor.kinds.crashes.minidump import (
    EXCEPTION,
    MAGIC,
    MEMORY_LIST,
    MODULE_LIST,
    SYSTEM_INFO,
    THREAD_LIST,
    VERSION,
)


class File(NamedTuple):
    """A file of a report: a dump, or what came beside it."""

    name: str
    filename: str
    data: bytes | memoryview


def form(annotations: Mapping[str, Any], files: Iterable[File]) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST. Annotations that are not all text go as Firefox sends them, in one piece of JSON."""
    boundary = "-" * 24 + secrets.token_hex(16)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "User-Agent": f"lae-monitor/{__version__}",
    }
    return headers, b"".join(_pieces(boundary, annotations, files))


def _pieces(boundary: str, annotations: Mapping[str, Any], files: Iterable[File]) -> Iterator[bytes | memoryview]:
    for head, data in _parts(annotations, files):
        yield f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode("utf-8", "replace")
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _parts(annotations: Mapping[str, Any], files: Iterable[File]) -> Iterator[tuple[str, bytes | memoryview]]:
    if all(isinstance(value, str) for value in annotations.values()):
        for name, value in annotations.items():
            yield f'name="{_escape(name)}"', value.encode("utf-8", "replace")
    else:
        head = 'name="extra"; filename="extra.json"\r\nContent-Type: application/json'
        yield head, json.dumps(annotations).encode("ascii")
    for name, filename, data in files:
        head = f'name="{_escape(name)}"; filename="{_escape(filename)}"\r\nContent-Type: application/octet-stream'
        yield head, data


def _escape(name: str) -> str:
    return re.sub(r'["%\r\n]', lambda found: f"%{ord(found[0]):02x}", name)


# A small minidump of a crash that never happened: to try a collector with. Valid for any reader of the format.
SIGSEGV: Final = 11
LINUX: Final = 0x8201
AMD64: Final = 9
CONTEXT_AMD64: Final = 0x10000B  # control, integer and floating point registers
CONTEXT_SIZE: Final = 1232  # bytes, with the flags at 48 and the instruction pointer at 248
BASE: Final = 0x5500_0000_0000  # of the module
MODULE: Final = "/usr/bin/lae-test"
STACK: Final = 0x7FFC_0000_0000
FAULT: Final = 0xDEAD0000  # the address that could not be read


def minidump(now: float, thread: int = 4242, module: str = MODULE) -> bytes:
    """A crash of thread `thread` in the program `module` by SIGSEGV, at `now` (seconds)."""
    kinds = (SYSTEM_INFO, THREAD_LIST, MODULE_LIST, MEMORY_LIST, EXCEPTION)
    out = bytearray(struct.pack("<4sIIIIIQ", MAGIC, VERSION, len(kinds), 32, 0, int(now), 0))
    directory = len(out)
    out += bytes(12 * len(kinds))

    def place(data: bytes) -> int:
        offset = len(out)
        out.extend(data + bytes(-len(data) % 8))
        return offset

    def string(text: str) -> int:
        encoded = text.encode("utf-16-le")
        return place(struct.pack("<I", len(encoded)) + encoded + b"\0\0")

    context = place(_context())
    stack = place(bytes(64))
    streams = (
        struct.pack("<HHHBBIIIIIHH24x", AMD64, 6, 0, 2, 1, 6, 1, 0, LINUX, string("Linux 6.1.0"), 0, 0),
        struct.pack("<IIIIIQQIIII", 1, thread, 0, 0, 0, 0, STACK, 64, stack, CONTEXT_SIZE, context),
        struct.pack("<IQIIII", 1, BASE, 0x10000, 0, int(now), string(module)) + bytes(84),
        struct.pack("<IQII", 1, STACK, 64, stack),
        struct.pack("<IIIIQQII", thread, 0, SIGSEGV, 1, 0, FAULT, 0, 0)
        + bytes(120)
        + struct.pack("<II", CONTEXT_SIZE, context),
    )
    for number, (kind, stream) in enumerate(zip(kinds, streams, strict=True)):
        struct.pack_into("<III", out, directory + 12 * number, kind, len(stream), place(stream))
    return bytes(out)


def _context() -> bytes:
    context = bytearray(CONTEXT_SIZE)
    struct.pack_into("<I", context, 48, CONTEXT_AMD64)
    struct.pack_into("<Q", context, 152, STACK)
    struct.pack_into("<Q", context, 248, BASE + 0x1234)
    return bytes(context)

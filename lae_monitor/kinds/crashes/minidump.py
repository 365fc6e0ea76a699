"""What a minidump's headers tell: system, exception, module; and what is wrong with them.

Reads only what it needs, believes no length, does no I/O.

Format: MINIDUMP_HEADER and its streams as Breakpad and Crashpad write them; see docs/crashes.md.
"""

import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lae_monitor.core.limits import KiB, MiB

# The names of exception codes, by system: what a title says instead of 0xc0000005.
SIMULATED: Final = {0x0517A7ED: "simulated", 0x43507378: "simulated", 0xFFFFFFFF: "dump requested"}

WINDOWS: Final = {
    0x40000015: "FATAL_APP_EXIT",
    0x80000003: "BREAKPOINT",
    0x80000004: "SINGLE_STEP",
    0xC0000005: "ACCESS_VIOLATION",
    0xC0000006: "IN_PAGE_ERROR",
    0xC0000008: "INVALID_HANDLE",
    0xC0000017: "NO_MEMORY",
    0xC000001D: "ILLEGAL_INSTRUCTION",
    0xC0000025: "NONCONTINUABLE_EXCEPTION",
    0xC000008C: "ARRAY_BOUNDS_EXCEEDED",
    0xC000008E: "FLT_DIVIDE_BY_ZERO",
    0xC0000094: "INT_DIVIDE_BY_ZERO",
    0xC0000095: "INT_OVERFLOW",
    0xC0000096: "PRIV_INSTRUCTION",
    0xC00000FD: "STACK_OVERFLOW",
    0xC0000135: "DLL_NOT_FOUND",
    0xC0000142: "DLL_INIT_FAILED",
    0xC0000374: "HEAP_CORRUPTION",
    0xC0000409: "STACK_BUFFER_OVERRUN",
    0xC0000420: "ASSERTION_FAILURE",
    0xE0000008: "OUT_OF_MEMORY",
    0xE06D7363: "C++ exception",
    0xE0434352: ".NET exception",
}

MACH: Final = {
    1: "EXC_BAD_ACCESS",
    2: "EXC_BAD_INSTRUCTION",
    3: "EXC_ARITHMETIC",
    4: "EXC_EMULATION",
    5: "EXC_SOFTWARE",
    6: "EXC_BREAKPOINT",
    10: "EXC_CRASH",
    11: "EXC_RESOURCE",
    12: "EXC_GUARD",
    13: "EXC_CORPSE_NOTIFY",
}


def reason_of(os: str, code: int) -> str:
    """`SIGSEGV`, `ACCESS_VIOLATION`, `EXC_BAD_ACCESS`, or the code itself in hex."""
    if code in SIMULATED:
        return SIMULATED[code]
    names = {"Windows": WINDOWS, "macOS": MACH, "iOS": MACH}.get(os)
    if names is not None:
        return names.get(code, f"0x{code:08x}")
    try:
        return signal.Signals(code).name  # the dump's numbers are those of Linux, as ours are
    except ValueError:
        return f"0x{code:08x}"


MAGIC: Final = b"MDMP"
VERSION: Final = 0xA793  # the low word; the high word belongs to whoever wrote it

MAX_STREAMS: Final = 128  # looked at; real dumps have 9 to 30
MAX_MODULES: Final = 4096  # looked at; a browser loads some hundred
MAX_STRING: Final = 1024  # bytes of a name or version in UTF-16
MAX_INFLATED: Final = 16 * MiB  # bytes of a compressed dump that are looked at; the headers and modules come first
MAX_PREAMBLE: Final = 64 * KiB  # bytes before a dump that lies within a multipart of its own
MAX_PEELED: Final = (
    1 * MiB
)  # bytes of a compressed dump in which annotations are looked for: Crashpad writes memory last
MAX_PAIRS: Final = 200  # annotations within a dump; Chromium has up to 100

THREAD_LIST: Final = 3
MODULE_LIST: Final = 4
MEMORY_LIST: Final = 5
EXCEPTION: Final = 6
SYSTEM_INFO: Final = 7
CRASHPAD_INFO: Final = 0x43500001

PLATFORMS: Final = {
    2: "Windows", 0x8000: "Unix", 0x8101: "macOS", 0x8102: "iOS", 0x8201: "Linux", 0x8202: "Solaris", 0x8203: "Android",
    0x8204: "PS3", 0x8205: "NaCl", 0x8206: "Fuchsia",
}  # fmt: skip
PROCESSORS: Final = {
    0: "x86", 1: "mips", 3: "ppc", 5: "arm", 6: "ia64", 9: "x86-64", 10: "x86", 12: "arm64", 0x8001: "sparc",
    0x8002: "ppc64", 0x8003: "arm64", 0x8004: "mips64", 0x8005: "riscv", 0x8006: "riscv64",
}  # fmt: skip

# Where the instruction pointer is in a thread's context: offset and format.
_POINTERS: Final = {"x86": (184, "<I"), "x86-64": (248, "<Q"), "arm": (64, "<I"), "arm64": (264, "<Q")}

_HEADER: Final = struct.Struct("<IIIIIIQ")
_DIRECTORY: Final = struct.Struct("<III")  # stream type, size, offset
_SYSTEM: Final = struct.Struct("<HHHBBIIIII")
_EXCEPTION: Final = struct.Struct("<IIIIQQ")  # thread, -, code, flags, record, address
_CONTEXT: Final = struct.Struct("<II")  # size, offset of the thread's context; 8 + 152 bytes into the stream
_MODULE: Final = struct.Struct("<QIIII")  # base, size, checksum, time, offset of the name
_MODULE_SIZE: Final = 108
_CRASHPAD: Final = struct.Struct(
    "<36xII"
)  # version and two identifiers of 16 bytes before size and offset of annotations
_PAIR: Final = struct.Struct("<II")  # offsets of an annotation's name and value

Buffer = bytes | bytearray | memoryview
Look = Callable[[int, int], bytes]  # the bytes from an offset on, at most so many, of a dump that may be anywhere


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a dump says of itself; empty, or None, where it does not."""

    streams: int
    written: int = 0  # seconds since the epoch, by the crashed host's clock
    os: str = ""
    os_version: str = ""
    cpu: str = ""
    processors: int = 0
    threads: int | None = None
    modules: int | None = None
    code: int | None = None  # of the exception
    reason: str = ""  # its name on that system, such as SIGSEGV
    address: int | None = None
    module: str = ""  # the file that the crashed thread was executing
    offset: int | None = None  # of the instruction pointer from the module's start


def unwrapped(dump: Buffer, most: int = MAX_INFLATED) -> tuple[Buffer, str]:
    """The minidump within `dump`, and what it lay in: "gzip", "multipart" (old Electron on Linux), or "" for nothing.

    Args:
        most: bytes of a compressed one.
    """
    if bytes(dump[:2]) == b"\x1f\x8b":
        try:
            return zlib.decompressobj(wbits=31).decompress(dump, most), "gzip"
        except zlib.error:
            return dump, ""
    if bytes(dump[:2]) == b"--":
        start = bytes(dump[:MAX_PREAMBLE]).find(MAGIC)
        if start >= 0:
            return dump[start:], "multipart"
    return dump, ""


def problem_of(dump: Buffer, *, whole: bool = True) -> str:
    """What is wrong with the headers of `dump`, in a sentence; "" for nothing.

    Args:
        whole: whether these are all of its bytes.
    """
    header = _unpack(_HEADER, dump, 0)
    if header is None:
        return f"has {len(dump)} bytes, fewer than the header of a minidump"
    magic, version = bytes(dump[:4]), header[1] & 0xFFFF
    if magic != MAGIC:
        big = magic == MAGIC[::-1]
        return "is of a big-endian machine, and not read" if big else "does not begin with MDMP, as a minidump does"
    if version != VERSION:
        return f"has the version 0x{version:04x}, a minidump 0x{VERSION:04x}"
    return _streams_problem(dump, header[2], header[3], whole=whole)


def _streams_problem(dump: Buffer, count: int, directory: int, *, whole: bool) -> str:
    if directory + count * _DIRECTORY.size > len(dump):
        return f"says that it has {count} streams, and their table ends beyond the file: it was cut short"
    beyond = sum(offset + size > len(dump) for _, size, offset in _entries(dump, count, directory))
    if beyond and whole:
        return f"has {beyond} of its {count} streams beyond the end of the file: it was cut short"
    return ""


def summarise(dump: Buffer) -> Summary | None:
    """What `dump` says; None when it is no minidump. Never raises for what is in it."""
    header = _unpack(_HEADER, dump, 0)
    if header is None or bytes(dump[:4]) != MAGIC or header[1] & 0xFFFF != VERSION:
        return None
    _, _, count, directory, _, written, _ = header
    streams = dict(_streams(dump, count, directory))
    os, version, cpu, processors = _system(dump, streams.get(SYSTEM_INFO))
    code, address, pointer = _exception(dump, streams.get(EXCEPTION), cpu)
    module, offset = _module_at(dump, streams.get(MODULE_LIST), address if pointer is None else pointer)
    return Summary(
        streams=count,
        written=written,
        os=os,
        os_version=version,
        cpu=cpu,
        processors=processors,
        threads=_count(dump, streams.get(THREAD_LIST)),
        modules=_count(dump, streams.get(MODULE_LIST)),
        code=code,
        reason="" if code is None else reason_of(os, code),
        address=address,
        module=module,
        offset=None if pointer is None else offset,
    )


def crashpad_annotations(look: Look) -> dict[str, str]:
    """What Crashpad writes into its dumps, simple_annotations of MinidumpCrashpadInfo; empty for other dumps."""
    look = _peeled(look)
    header = _unpack(_HEADER, look(0, _HEADER.size), 0)
    if header is None or look(0, len(MAGIC)) != MAGIC or header[1] & 0xFFFF != VERSION:
        return {}
    directory = look(header[3], min(header[2], MAX_STREAMS) * _DIRECTORY.size)
    place = dict(_streams(directory, header[2], 0)).get(CRASHPAD_INFO)
    annotations = None if place is None else _unpack(_CRASHPAD, look(place, _CRASHPAD.size), 0)
    at = annotations[1] if annotations else 0
    count = _count(look(at, 4), 0) or 0 if at else 0
    pairs = look(at + 4, min(count, MAX_PAIRS) * _PAIR.size)
    return {
        _utf8(look, name): _utf8(look, value)
        for name, value in _PAIR.iter_unpack(pairs[: len(pairs) // _PAIR.size * _PAIR.size])
    }


def looking(dump: Buffer) -> Look:
    """A dump in memory, to be looked at."""
    return lambda at, size: bytes(dump[at : at + size])


def _peeled(look: Look) -> Look:
    """As `unwrapped`, for a dump that is not in memory, and as far as MAX_PEELED."""
    head = look(0, 2)
    if head == b"\x1f\x8b":
        return looking(unwrapped(look(0, MAX_PEELED), MAX_PEELED)[0])
    if head == b"--":
        start = max(look(0, MAX_PREAMBLE).find(MAGIC), 0)
        return lambda at, size: look(start + at, size)
    return look


def _utf8(look: Look, offset: int) -> str:
    """A MinidumpUTF8String: its size in bytes, then UTF-8."""
    size = _count(look(offset, 4), 0) or 0
    return look(offset + 4, min(size, MAX_STRING)).decode("utf-8", "replace")


def _unpack(form: struct.Struct, dump: Buffer, offset: int) -> tuple[int, ...] | None:
    return form.unpack_from(dump, offset) if 0 <= offset <= len(dump) - form.size else None


def _streams(dump: Buffer, count: int, directory: int) -> Iterator[tuple[int, int]]:
    """Each stream's type and offset; of a type that comes twice the last."""
    for kind, _, offset in _entries(dump, count, directory):
        yield kind, offset


def _entries(dump: Buffer, count: int, directory: int) -> Iterator[tuple[int, ...]]:
    """Each stream's type, size and offset, as far as the table goes."""
    for number in range(min(count, MAX_STREAMS)):
        entry = _unpack(_DIRECTORY, dump, directory + number * _DIRECTORY.size)
        if entry is None:
            return
        yield entry


def _system(dump: Buffer, offset: int | None) -> tuple[str, str, str, int]:
    found = None if offset is None else _unpack(_SYSTEM, dump, offset)
    if found is None:
        return "", "", "", 0
    processor, _, _, processors, _, major, minor, build, platform, service_pack = found
    version = " ".join(filter(None, (f"{major}.{minor}.{build}", _string(dump, service_pack))))
    return (
        PLATFORMS.get(platform, f"platform 0x{platform:x}"),
        version,
        PROCESSORS.get(processor, f"processor 0x{processor:x}"),
        processors,
    )


def _exception(dump: Buffer, offset: int | None, cpu: str) -> tuple[int | None, int | None, int | None]:
    """Code, address, and the instruction pointer of the crashed thread."""
    found = None if offset is None else _unpack(_EXCEPTION, dump, offset)
    if found is None or offset is None:
        return None, None, None
    context = _unpack(_CONTEXT, dump, offset + 160)
    pointer = None
    if context is not None and cpu in _POINTERS:
        size, place = context
        where, form = _POINTERS[cpu]
        if size >= where + struct.calcsize(form):
            read = _unpack(struct.Struct(form), dump, place + where)
            pointer = None if read is None else read[0]
    return found[2], found[5], pointer


def _count(dump: Buffer, offset: int | None) -> int | None:
    found = None if offset is None else _unpack(struct.Struct("<I"), dump, offset)
    return None if found is None else found[0]


def _module_at(dump: Buffer, offset: int | None, address: int | None) -> tuple[str, int | None]:
    """The base name of the module that holds `address`, and how far into it that is."""
    count = _count(dump, offset)
    if offset is None or count is None or address is None:
        return "", None
    for number in range(min(count, MAX_MODULES)):
        found = _unpack(_MODULE, dump, offset + 4 + number * _MODULE_SIZE)
        if found is None:
            return "", None
        base, size, _, _, name = found
        if base <= address < base + size:
            return _string(dump, name).replace("\\", "/").rpartition("/")[2], address - base
    return "", None


def _string(dump: Buffer, offset: int) -> str:
    """A MINIDUMP_STRING: its size in bytes, then UTF-16."""
    found = _unpack(struct.Struct("<I"), dump, offset)
    if found is None or offset == 0:
        return ""
    text = bytes(dump[offset + 4 : offset + 4 + min(found[0], MAX_STRING)])
    return text.decode("utf-16-le", "replace").rstrip("\0")

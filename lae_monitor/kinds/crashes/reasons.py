"""The names of exception codes, by system: what a title says instead of 0xc0000005."""

import signal
from typing import Final

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

"""Lets Crashpad's handler dump this process as if it had crashed, and upload the dump: HANDLER DATABASE URL [OPTION...]."""

import ctypes
import os
import signal
import struct
import sys
import uuid

PR_SET_PTRACER, ANY = 0x59616D61, 2**64 - 1
GETTID = 186  # on x86-64


class ExceptionInformation(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("siginfo", ctypes.c_uint64), ("context", ctypes.c_uint64), ("thread", ctypes.c_int32)]


def main(handler: str, database: str, url: str, *options: str) -> None:
    os.makedirs(database, exist_ok=True)
    with open(os.path.join(database, "settings.dat"), "wb") as settings:
        # 'CPds', version 1, uploads enabled, padding, last upload, client id
        settings.write(struct.pack("<IIIIq16s", 0x43506473, 1, 1, 0, 0, uuid.uuid4().bytes_le))
    libc = ctypes.CDLL(None)
    siginfo = ctypes.create_string_buffer(128)
    struct.pack_into("<iiiIQ", siginfo, 0, signal.SIGSEGV, 0, 1, 0, 0xDEAD0000)
    context = ctypes.create_string_buffer(4096)
    libc.getcontext(context)
    exception = ExceptionInformation(ctypes.addressof(siginfo), ctypes.addressof(context), libc.syscall(GETTID))
    libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(ANY), 0, 0, 0)
    arguments = [
        handler,
        f"--database={database}",
        f"--url={url}",
        "--no-rate-limit",
        "--annotation=prod=LaeTest",
        "--annotation=ver=1.2.3",
        "--annotation=ProductName=LaeTest",
        "--annotation=Version=1.2.3",
        f"--trace-parent-with-exception=0x{ctypes.addressof(exception):x}",
        *options,
    ]
    child = os.fork()
    if child == 0:
        os.execv(handler, arguments)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main(*sys.argv[1:])

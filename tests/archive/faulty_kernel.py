"""A kernel whose n-th call goes wrong, in one of the ways in which disks do."""

import errno
import os
import threading

from lae_monitor.archive.kernel import Kernel

CALLS = tuple(name for name in vars(Kernel) if not name.startswith("_"))
SYNCS = ("fsync", "fdatasync", "sync_folder")


def fail(code: int, *names: str):
    """The call has no effect and fails."""

    def fault(_kernel, _name, _call, _args):
        raise OSError(code, os.strerror(code))

    fault.applies_to = names or tuple(name for name in CALLS if name != "close")
    return fault


def fail_afterwards(code: int):
    """The call has its effect, and says that it failed all the same, as happens on network mounts."""

    def fault(kernel, name, call, args):
        answer = call(*args)
        if name in {"create", "open_update", "open_read"}:
            kernel.close(answer)
        elif name == "open_append":
            kernel.close(answer[0])
        raise OSError(code, os.strerror(code))

    fault.applies_to = CALLS
    return fault


def write_short(_kernel, _name, call, args):
    """The kernel takes half of what it is given, and says so: no error at all."""
    fd, parts = args
    data = b"".join(parts)
    return call(fd, [data[: len(data) // 2 or 1]])


write_short.applies_to = ("writev",)


def write_short_and_fail(kernel, name, call, args):
    """Half is written, then the disk is full."""
    write_short(kernel, name, call, args)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


write_short_and_fail.applies_to = ("writev",)


def lose(kernel, _name, _call, args):
    """fsync fails, and what was to be written is gone for good; the next fsync finds nothing to do and succeeds."""
    kernel._file(args[0]).forget()
    raise OSError(errno.EIO, os.strerror(errno.EIO))


lose.applies_to = ("fsync", "fdatasync")

FAULTS = {
    "ENOSPC": fail(errno.ENOSPC, "create", "open_append", "writev", "make_folder", "rename", *SYNCS),
    "EIO": fail(errno.EIO),
    "EINTR": fail(errno.EINTR),
    "EMFILE": fail(errno.EMFILE, "create", "open_append", "open_read", "sync_folder", "rename", "entries"),
    "EIO after the effect": fail_afterwards(errno.EIO),
    "short write": write_short,
    "short write, then ENOSPC": write_short_and_fail,
    "fsync fails and the data is gone": lose,
}


class FaultyKernel:
    """`kernel`, but the `nth` call that `fault` applies to goes wrong; `struck` says whether it came to that."""

    def __init__(self, kernel, fault, nth: int):
        self._kernel = kernel
        self._fault = fault
        self._left = nth
        self._lock = threading.Lock()
        self.struck = ""

    def __getattr__(self, name):
        call = getattr(self._kernel, name)
        if name not in self._fault.applies_to:
            return call

        def made(*args):
            with self._lock:
                self._left -= 1
                now = self._left == 0
            if not now:
                return call(*args)
            self.struck = f"{name}{args}"[:80]
            return self._fault(self._kernel, name, call, args)

        return made

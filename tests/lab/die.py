"""Dies by SIGSEGV, and is recorded by this host's systemd-coredump as if the kernel had called it: python3 die.py PROGRAM [WORD...]

The kernel has one core_pattern for all hosts of the lab, which is the machine's and stays as it is. So the program runs under
ptrace, which stops it when its core is written and all of its /proc still there: that is when the kernel would have called.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRACEME, CONT, SETOPTIONS = 0, 7, 0x4200
TRACEEXIT, EVENT_EXIT = 0x40, 6
COREDUMP = "/usr/lib/systemd/systemd-coredump"


def tracer():
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return ptrace


def start(ptrace, command, folder):
    """The process of a command that waits for its tracer, in `folder`, where its core will be."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execv(command[0], command)
    os.waitpid(child, 0)
    ptrace(SETOPTIONS, child, None, TRACEEXIT)
    return child


def run_until_it_dies(ptrace, child):
    deliver = 0
    while True:
        ptrace(CONT, child, None, deliver)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            sys.exit(f"it ended with {status}, and never stopped")
        if status >> 16 == EVENT_EXIT:
            return
        deliver = 0 if os.WSTOPSIG(status) == signal.SIGTRAP else os.WSTOPSIG(status)


def main(*command):
    ptrace = tracer()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        child = start(ptrace, command, folder)
        run_until_it_dies(ptrace, child)
        # Where the machine's core_pattern names a program, that one has the core, and there is none here.
        core = b"".join(path.read_bytes() for path in Path(folder).iterdir())
        kernels = (child, 0, 0, int(signal.SIGSEGV), int(time.time()), 2**63, os.uname().nodename)
        subprocess.run([COREDUMP, *map(str, kernels)], input=core, check=True)
    ptrace(CONT, child, None, 0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGSEGV, status
    print(len(core))


main(*sys.argv[1:])

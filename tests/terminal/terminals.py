"""A terminal that a program writes to."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def on_terminal(columns, program, *, descriptor=1, **environment):
    """What the program writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, ("stdout", "stderr")[descriptor - 1]: theirs}
    with subprocess.Popen([sys.executable, "-c", program], env={**inherited, **environment}, **streams) as child:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 65536):
                written += piece
        except OSError:  # Linux says so at the end
            pass
        os.close(ours)
    assert child.returncode == 0
    return written.decode().replace("\r\n", "\n")

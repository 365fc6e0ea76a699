#!/usr/bin/env python3
"""ssh's ProxyCommand: connects inside the lab's network and hands ssh the connection, so that molecule runs outside of it.

into_lab.py ADDRESS PORT        with LAE_LAB, the lab's folder, in the environment, and ssh's ProxyUseFdpass=yes
"""

import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "tests" / "lab"))

from lab_places import Places  # noqa: E402


def enter(network: Path) -> None:
    """Begins anew in the network namespace, unless it is this one."""
    if not Path("/proc/self/ns/net").samefile(network):
        os.execvp("nsenter", ["nsenter", f"--net={network}", "--", sys.executable, str(HERE), *sys.argv[1:]])


def main() -> None:
    _, address, port = sys.argv
    enter(Path("/run/netns") / Places(Path(os.environ["LAE_LAB"]).resolve().name).network)
    with socket.create_connection((address, int(port)), 10) as connection, socket.socket(fileno=1) as ssh:
        connection.setblocking(True)
        socket.send_fds(ssh, [b"\0"], [connection.fileno()])


if __name__ == "__main__":
    main()

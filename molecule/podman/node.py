#!/usr/bin/env python3
"""Makes a container what LeastAuthority's hosts are, with storage server and introducer, as the lab does.

node.py CONTAINER ADDRESS
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "lab"))

import lab_tahoe


@dataclass(frozen=True)
class Container:
    """As much of the lab's host as lab_tahoe asks for."""

    name: str
    public_address: str

    def exec(self, command: list[str], stdin: str, *, check: bool, timeout: float) -> None:
        entering = ["podman", "exec", "--interactive", self.name, *command]
        subprocess.run(entering, input=stdin, text=True, check=check, timeout=timeout)


if __name__ == "__main__":
    lab_tahoe.make(Container(*sys.argv[1:]))  # type: ignore[arg-type]

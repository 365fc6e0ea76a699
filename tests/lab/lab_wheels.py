"""The wheels of Tahoe-LAFS, exactly as requirements/test.txt pins them: version and hash of each.

What Tahoe-LAFS needs is asked of the virtual environment that runs this, where the tests' requirements are installed.
"""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from lab_places import CHECKOUT, LabError

LOCK = CHECKOUT / "requirements" / "test.txt"
WANTED = "tahoe-lafs"
PYTHON = (3, 11)  # of the hosts' Debian; a wheel with C in it fits no other


def _requirement(text: str):
    """Parsed; the import waits, so that --help works under any Python."""
    from packaging.requirements import Requirement

    return Requirement(text)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(name: str) -> set[str]:
    """`name`, and all that it needs on this machine."""
    found: set[str] = set()
    open_names: list[tuple[str, Iterable[str]]] = [(name, ())]
    while open_names:
        name, extras = open_names.pop()
        if _canonical(name) in found:
            continue
        found.add(_canonical(name))
        for requirement in map(_requirement, importlib.metadata.requires(name) or []):
            marker = requirement.marker
            if not marker or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                open_names.append((requirement.name, requirement.extras))
    return found


def pins(lock: Path = LOCK) -> str:
    """The part of `lock` that Tahoe-LAFS needs, with its hashes: a requirements file.

    Raises:
        LabError: this Python is not the hosts', or the tests' requirements are not installed in it.
    """
    if sys.version_info[:2] != PYTHON:
        raise LabError(
            f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, and wheels made by it do not fit the lab's hosts, "
            f"which have {PYTHON[0]}.{PYTHON[1]}. Next: make PYTHON=python3.11 setup, in a checkout of its own"
        )
    try:
        names = needed(WANTED)
    except ImportError as error:  # PackageNotFoundError is one
        raise LabError(
            f"{error}: this Python lacks the tests' requirements. Next: make setup, then .venv/bin/python"
        ) from error
    chosen = []
    for block in re.split(r"\n(?=\S)", lock.read_text()):
        requirement = _requirement(block.partition("\\")[0].strip()) if "==" in block.partition("\\")[0] else None
        if (
            requirement
            and _canonical(requirement.name) in names
            and (not requirement.marker or requirement.marker.evaluate())
        ):
            chosen.append(block.strip() + "\n")
            names.discard(_canonical(requirement.name))
    if names:
        raise LabError(f"{lock.name} does not pin {', '.join(sorted(names))}. Next: make lock")
    return "".join(chosen)


def make(requirements: str, folder: Path) -> None:
    """A wheel of each in `folder`. Not `pip download`: netifaces comes as source only, and hosts have no compiler."""
    folder.mkdir(parents=True)
    listed = folder / "requirements.txt"
    listed.write_text(requirements)
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--require-hashes",
            "--wheel-dir", str(folder), "-r", str(listed),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"the wheels of {WANTED} could not be made: {done.stdout[-2000:]}")

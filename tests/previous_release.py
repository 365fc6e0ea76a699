"""Releases as hosts have them: the one before this issue, and this tree. Each is built as a wheel and installed in a virtual
environment of its own, which finds what the wheel depends on in the environment of the tests.

`previous_release` and `this_release` in tests/conftest.py give them to tests.
"""

import fcntl
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

HOUSE = Path(__file__).parents[1]
COMMIT = "eee2fb50f03276d704327064b2df5bf652ace99e"  # what was released last; hosts go back to it


class NotHere(Exception):
    """The commit is not in this clone; says why and what to do."""


class Release(NamedTuple):
    """An installed release."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def program(self) -> Path:
        return self.folder / "bin" / "lae-monitor"


def source(commit: str, folder: Path) -> Path:
    """The tree of `commit`, in `folder`.

    Raises:
        NotHere
    """
    packed = subprocess.run(["git", "archive", commit], cwd=HOUSE, capture_output=True, check=False)
    if packed.returncode:
        said = packed.stderr.decode(errors="replace").strip()
        raise NotHere(f"commit {commit[:7]} is not in this clone ({said}). Next: git fetch --unshallow")
    with tempfile.TemporaryFile() as file:
        file.write(packed.stdout)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            tar.extractall(folder, filter="data")
    return folder


def installed(tree: Path, folder: Path) -> Release:
    """The wheel of `tree`, installed in `folder`."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as wheels:
        _run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, str(tree)])
        (wheel,) = Path(wheels).iterdir()
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
        release = Release(folder)
        _run([*pip, "--python", str(release.python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    # Of what a .pth file adds no .pth files are read: the tree that is installed there editable stays out.
    for packages in folder.glob("lib/python*/site-packages"):
        (packages / "dependencies.pth").write_text(
            f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
        )
    return release


def previous() -> Release:
    """The release of COMMIT, built once for this clone and Python.

    Raises:
        NotHere
    """
    folder = HOUSE / ".cache" / "releases" / f"{COMMIT[:12]}-{sys.implementation.cache_tag}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".complete"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers build it, too
        if not stamp.exists():
            with tempfile.TemporaryDirectory() as tree:
                installed(source(COMMIT, Path(tree)), folder)
            stamp.touch()
    return Release(folder)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"

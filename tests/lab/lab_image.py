"""The image of the lab's hosts: a minimal Debian with systemd, sshd, cron and Tahoe-LAFS, made once and kept in the cache.

Its folder is named by the hash of all that goes into it. It is built under another name and renamed when it is whole, so
what has the name is whole; of two that build at once, one waits and finds the other's. Images that no lab uses, and that
nobody asked for of late, are removed when another is made. Which mirror the packages came from is no part of the hash, and
is nowhere in the image.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lab_tree
import lab_wheels
from lab_namespaces import one_at_a_time
from lab_places import RUN, cache

RECIPE = Path(lab_tree.__file__)
JUST_ASKED_FOR = 600  # seconds within which whoever asked for an image has put a lab on it

Say = Callable[[str], None]


def to_stderr(text: str) -> None:
    """Progress for whoever waits."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def identity() -> str:
    """The hash of all that goes into the image: packages, pinned wheels, and the text of lab_tree, which says how it is made."""
    parts = (*lab_tree.packages(), lab_wheels.pins(), RECIPE.read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@contextmanager
def _alone(say: Say) -> Iterator[int]:
    """One at a time; the programs of a build inherit the lock, so it also holds while one outlives a killed builder."""
    cache().mkdir(parents=True, exist_ok=True)
    lock = os.open(cache() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process makes an image; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def ensure(say: Say = to_stderr) -> Path:
    """The image's folder, made now if it is not there; takes one to five minutes then.

    Raises:
        LabError: it could not be made.
    """
    folder = cache() / identity()
    if not is_made():
        with _alone(say) as lock:
            if not folder.is_dir():
                _remove_others(folder.name)
                _build(folder, lock, say)
    os.utime(folder)
    return folder


def is_made() -> bool:
    """Whether `ensure` would find it."""
    return (cache() / identity()).is_dir()


def storage_of(folder: Path) -> Path:
    """Where podman finds the image of `folder`."""
    return folder / "storage"


def _remove_others(name: str) -> None:
    """Older images and what crashed builds left, except what a lab stands on, or is about to, of whichever checkout."""
    with one_at_a_time():
        used = {Path(json.loads(about.read_text())["image"]).name for about in RUN.glob("*/about.json")}
    for folder in cache().iterdir():
        ours = re.fullmatch(r"[0-9a-f]{16}(\.part)?", folder.name)
        if ours and (
            ours[1] or (folder.name not in used | {name} and folder.stat().st_mtime < time.time() - JUST_ASKED_FOR)
        ):
            shutil.rmtree(folder)


def _build(folder: Path, lock: int, say: Say) -> None:
    part = folder.with_name(folder.name + ".part")
    tree = part / "tree"
    downloads = cache() / "debs"
    began = time.monotonic()
    part.mkdir(mode=0o700)
    downloads.mkdir(exist_ok=True)
    try:
        say(f"making the image of the hosts (once; one to five minutes): Debian {lab_tree.SUITE} ...")
        lab_tree.debootstrap(tree, downloads, lock)
        say("... Tahoe-LAFS, of pinned wheels ...")
        lab_wheels.make(lab_wheels.pins(), tree / "wheels")
        lab_tree.install_tahoe(tree, lock)
        shutil.rmtree(tree / "wheels")
        lab_tree.make_template(tree)
        say("... and podman's copy of it ...")
        lab_tree.pack(tree, storage_of(part), part / "working", lock)
        shutil.rmtree(tree)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    say(f"the image is made: {time.monotonic() - began:.0f} s, kept in {folder}")

"""A file system that passes everything on to a folder, and knows what was not synced: what a power cut may take.

    cutting_file_system.py FOLDER MOUNTPOINT

Names survive a cut, as the journal of ext4 keeps them; the content of a file that was written since its last sync may not. Answers
each line on standard input with the numbers (inodes) of these files, as JSON. `tear` is the cut itself, for the oracle.
"""

import json
import os
import random
import sys
import threading
from pathlib import Path

import mfusepy
from hanging_file_system import Gate, PassThrough

BLOCK = 4096


class Recording(PassThrough):
    def __init__(self, folder: str):
        super().__init__(folder, Gate())
        self._changed = threading.Lock()
        self.dirty: set[int] = set()

    def _write(self, fd: int) -> None:
        with self._changed:
            self.dirty.add(os.fstat(fd).st_ino)

    def create(self, path, mode, fi=None):
        fd = super().create(path, mode)
        self._write(fd)
        return fd

    def write(self, path, data, offset, fh):
        self._write(fh)
        return super().write(path, data, offset, fh)

    def truncate(self, path, length, fh=None):
        with self._changed:
            self.dirty.add(os.stat(self._at(path)).st_ino)
        return super().truncate(path, length)

    def fsync(self, path, datasync, fh):
        with self._changed:
            os.fsync(fh)
            self.dirty.discard(os.fstat(fh).st_ino)
        return 0

    def rename(self, old, new):
        return os.rename(self._at(old), self._at(new))

    def link(self, target, source):
        return os.link(self._at(source), self._at(target))

    def symlink(self, target, source):
        return os.symlink(source, self._at(target))

    def readlink(self, path):
        return os.readlink(self._at(path))

    def chmod(self, path, mode):
        return os.chmod(self._at(path), mode)

    def utimens(self, path, times=None):
        return os.utime(self._at(path), ns=times)


def tear(folder: Path, dirty: set[int], rng: random.Random) -> int:
    """Does to the files of `dirty` what a cut may do: nothing, emptied, cut off, or a block of zeros; returns how many it hurt."""
    torn = 0
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            file = Path(place, name)
            status = file.lstat()
            if file.is_symlink() or status.st_ino not in dirty or not status.st_size:
                continue
            damage = rng.choice(("none", "empty", "short", "zeros"))
            if damage == "empty":
                os.truncate(file, 0)
            elif damage == "short":
                os.truncate(file, rng.randrange(status.st_size))
            elif damage == "zeros":
                at = rng.randrange(status.st_size) // BLOCK * BLOCK
                with file.open("r+b") as opened:
                    opened.seek(at)
                    opened.write(bytes(min(BLOCK, status.st_size - at)))
            torn += damage != "none"
    return torn


def main() -> None:
    folder, mountpoint = sys.argv[1:]
    recording = Recording(folder)

    def tell() -> None:
        for _ in sys.stdin:
            print(json.dumps(sorted(recording.dirty)), flush=True)

    threading.Thread(target=tell, daemon=True).start()
    mfusepy.FUSE(recording, mountpoint, foreground=True, nothreads=False, hard_remove=True)


if __name__ == "__main__":
    main()

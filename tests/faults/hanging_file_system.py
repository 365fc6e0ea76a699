"""A file system that passes everything on to a folder, and hangs when told to: what a dead network mount looks like.

    hanging_file_system.py FOLDER MOUNTPOINT

Reads commands from its standard input: `hang NAME...` makes these operations wait (`fsync`, `write`, `fsyncdir`, `rename`, ...,
or `all`), `go` lets them go on. Answers each with a line: `hanging`, `going`; and says `stuck NAME` when an operation waits.
"""

import errno
import os
import sys
import threading

os.environ["FUSE_LIBRARY_NAME"] = "fuse3"  # else it takes libfuse2, if that is there, too, and finds no fusermount
import mfusepy

GATED = ("create", "open", "read", "write", "fsync", "fsyncdir", "rename", "getattr", "unlink", "truncate", "statfs")


class Gate:
    def __init__(self):
        self._changed = threading.Condition()
        self._shut: set[str] = set()

    def pass_through(self, name: str) -> None:
        with self._changed:
            if name in self._shut or "all" in self._shut:
                print("stuck", name, flush=True)
                self._changed.wait_for(lambda: name not in self._shut and "all" not in self._shut)

    def shut(self, names: set[str]) -> None:
        with self._changed:
            self._shut = names
            self._changed.notify_all()


class PassThrough(mfusepy.Operations):
    use_ns = True

    def __init__(self, folder: str, gate: Gate):
        self._folder = folder
        self._gate = gate

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name not in GATED:
            return found

        def gated(*args):
            self._gate.pass_through(name)
            return found(*args)

        return gated

    def _at(self, path):
        return self._folder + path

    def getattr(self, path, fh=None):
        status = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")
        times = {name: getattr(status, name + "_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self._at(path))]

    def mkdir(self, path, mode):
        return os.mkdir(self._at(path), mode)

    def rmdir(self, path):
        return os.rmdir(self._at(path))

    def create(self, path, mode, fi=None):
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self._at(path), os.O_RDWR)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        return os.truncate(self._at(path), length)

    def fsync(self, path, datasync, fh):
        return os.fsync(fh)

    def fsyncdir(self, path, datasync, fh):
        return 0

    def release(self, path, fh):
        return os.close(fh)

    def rename(self, old, new):
        if os.path.lexists(self._at(new)):
            raise mfusepy.FuseOSError(errno.EEXIST)
        return os.rename(self._at(old), self._at(new))

    def unlink(self, path):
        return os.unlink(self._at(path))

    def statfs(self, path):
        status = os.statvfs(self._folder)
        names = (
            "f_bsize",
            "f_frsize",
            "f_blocks",
            "f_bfree",
            "f_bavail",
            "f_files",
            "f_ffree",
            "f_favail",
            "f_namemax",
        )
        return {name: getattr(status, name) for name in names}


def obey(gate: Gate) -> None:
    for line in sys.stdin:
        command, *names = line.split()
        gate.shut(set(names))
        print("hanging" if command == "hang" else "going", flush=True)
    gate.shut(set())


def main() -> None:
    folder, mountpoint = sys.argv[1:]
    gate = Gate()
    threading.Thread(target=obey, args=(gate,), daemon=True).start()
    mfusepy.FUSE(PassThrough(folder, gate), mountpoint, foreground=True, nothreads=False, hard_remove=True)


if __name__ == "__main__":
    main()

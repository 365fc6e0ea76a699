"""A file system in memory that remembers what was synced, and forgets the rest when the power goes.

What a disk promises, and no more: `fsync` of a file makes its bytes durable, not its name; `fsync` of a folder makes the
names in it durable. Everything else may or may not be there after a power cut, each change by itself: names that were
made, moved or removed, and of a file's unsynced bytes any blocks, in any order, old, new, zeroed or full of rubbish.
"""

import errno
import itertools
import os
import random
import threading
import time

from lae_monitor.archive.kernel import Entry, Space


class PowerCut(BaseException):
    """The machine is off: no call has any effect any more."""


class Power:
    """The supply of all disks of a machine, and its count of calls.

    Args:
        cut_before: the power goes before the call of that number; 0 for never.
    """

    def __init__(self, cut_before: int = 0):
        self.cut_before = cut_before
        self.calls = 0
        self.off = False
        self.lock = threading.RLock()  # calls are made one at a time

    def draw(self):
        self.calls += 1
        if self.calls == self.cut_before:
            self.off = True
        if self.off:
            raise PowerCut


class File:
    def __init__(self):
        self.data = bytearray()
        self.durable = b""
        self.kept = 0  # bytes of `durable` that were not cut off since
        self.dirty = False
        self.links = 0
        self.locked_by = None

    def sync(self):
        self.durable = bytes(self.data)
        self.kept = len(self.durable)
        self.dirty = False

    def forget(self):
        """After a failed fsync: what is in the cache counts as clean, and will never reach the disk."""
        self.dirty = False

    def after_power_cut(self, chance: random.Random) -> "File":
        file = File()
        if not self.dirty:
            file.data = bytearray(self.durable)
        else:
            old, new = self.durable, bytes(self.data)
            length = chance.choice((len(old), len(new), chance.randint(self.kept, max(len(old), len(new)))))
            file.data = bytearray(self._blocks(old, new, length, chance))
        file.sync()
        return file

    def _blocks(self, old: bytes, new: bytes, length: int, chance: random.Random) -> bytes:
        block = chance.choice((512, 4096))
        out = bytearray()
        for start in range(0, length, block):
            end = min(start + block, length)
            before = old[start:end].ljust(end - start, b"\0")
            kind = chance.choice(("old", "new", "new", "zeros", "rubbish"))
            piece = new[start:end].ljust(end - start, b"\0") if kind == "new" else before
            if kind in {"zeros", "rubbish"}:
                kept = min(max(self.kept - start, 0), end - start)  # what was durable was not written again
                rubbish = (
                    bytes(end - start) if kind == "zeros" else (chance.randbytes(100) + b"\n") * (block // 101 + 1)
                )
                piece = before[:kept] + rubbish[kept : end - start]
            out += piece
        return bytes(out)


class Folder:
    def __init__(self):
        self.names: dict[str, File | Folder] = {}
        self.durable: dict[str, File | Folder] = {}
        self.history: dict[str, list[File | Folder | None]] = {}  # what each name meant since the last sync
        self.modified = 0.0

    def set(self, name, node):
        if node is None:
            self.names.pop(name)
        else:
            self.names[name] = node
        self.history.setdefault(name, [self.durable.get(name)]).append(node)

    def sync(self):
        self.durable = dict(self.names)
        self.history.clear()

    def after_power_cut(self, chance: random.Random, known: dict) -> "Folder":
        folder = Folder()
        for name in sorted({*self.durable, *self.history}):
            node = chance.choice(self.history[name]) if name in self.history else self.durable[name]
            if node is None:
                continue
            if id(node) not in known:
                known[id(node)] = (
                    node.after_power_cut(chance) if isinstance(node, File) else node.after_power_cut(chance, known)
                )
            folder.names[name] = known[id(node)]
            if isinstance(node, File):
                known[id(node)].links += 1  # a rename may have left both names
        folder.durable = dict(folder.names)
        return folder


class Disk:
    """What survives; several `ModelKernel`s (processes) may have it open.

    Args:
        size: bytes of the disk, for `space()` and ENOSPC.
    """

    def __init__(self, power: Power | None = None, size: int = 1 << 30):
        self.root = Folder()
        self.power = power or Power()
        self.size = size

    def survivor(self, seed: int, power: Power | None = None) -> "Disk":
        """The disk as it is found after a power cut now."""
        with self.power.lock:
            disk = Disk(power, self.size)
            disk.root = self.root.after_power_cut(random.Random(seed), {})
            return disk

    def walk(self, folder: Folder | None = None, prefix: str = ""):
        for name, node in sorted((folder or self.root).names.items()):
            if isinstance(node, Folder):
                yield from self.walk(node, f"{prefix}{name}/")
            else:
                yield f"{prefix}{name}", node

    def contents(self) -> dict[str, bytes]:
        """What is on it, except for temporary files."""
        return {path: bytes(file.data) for path, file in self.walk() if not path.startswith(".tmp/")}

    def used(self) -> int:
        return sum(len(file.data) for _, file in self.walk())


def _call(method):
    """Counts the call, one at a time, and makes none when the power is gone."""

    def wrapped(self, *args):
        with self.disk.power.lock:
            self.disk.power.draw()
            return method(self, *args)

    wrapped.__name__ = method.__name__
    return wrapped


class ModelKernel:
    """A process's calls on `disk`."""

    full = False

    def __init__(self, disk: Disk):
        self.disk = disk
        self._open: dict[int, File] = {}
        self._numbers = itertools.count(3)

    # ---- looking things up

    def _folder(self, path: str) -> Folder:
        node = self.disk.root
        for part in path.split("/") if path else ():
            node = node.names.get(part)
            if node is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if not isinstance(node, Folder):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _existing(self, path: str) -> File:
        folder, name = self._parent(path)
        node = folder.names.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(node, Folder):
            raise IsADirectoryError(errno.EISDIR, "not a plain file", path)
        return node

    def _number(self, file: File) -> int:
        fd = next(self._numbers)
        self._open[fd] = file
        return fd

    def _file(self, fd: int) -> File:
        if fd not in self._open:
            raise AssertionError(f"descriptor {fd} is used after it was closed")
        return self._open[fd]

    def open_descriptors(self) -> int:
        return len(self._open)

    # ---- the calls

    @_call
    def prepare(self):
        pass

    @_call
    def create(self, path):
        folder, name = self._parent(path)
        if name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        file = File()
        file.links = 1
        folder.set(name, file)
        folder.modified = time.time()
        return self._number(file)

    @_call
    def open_append(self, path):
        try:
            return self._number(self._existing(path)), False
        except FileNotFoundError:
            folder, name = self._parent(path)
            file = File()
            file.links = 1
            folder.set(name, file)
            folder.modified = time.time()
            return self._number(file), True

    @_call
    def open_update(self, path):
        return self._number(self._existing(path))

    @_call
    def open_read(self, path):
        return self._number(self._existing(path))

    @_call
    def writev(self, fd, parts):
        file = self._file(fd)
        data = b"".join(parts)
        room = self.disk.size - self.disk.used()
        if room <= 0 < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.data += data[:room]
        file.dirty = True
        return min(room, len(data))

    @_call
    def pread(self, fd, size, offset):
        return bytes(self._file(fd).data[offset : offset + size])

    @_call
    def size(self, fd):
        file = self._file(fd)
        if file.links == 0:
            raise FileNotFoundError(errno.ENOENT, "removed while it was open")
        return len(file.data)

    @_call
    def fsync(self, fd):
        if self._file(fd).dirty:
            self._file(fd).sync()

    @_call
    def fdatasync(self, fd):
        if self._file(fd).dirty:
            self._file(fd).sync()

    @_call
    def truncate(self, fd, size):
        file = self._file(fd)
        del file.data[size:]
        file.kept = min(file.kept, size)
        file.dirty = True

    @_call
    def close(self, fd):
        file = self._file(fd)
        if file.locked_by == (id(self), fd):
            file.locked_by = None
        del self._open[fd]

    @_call
    def lock(self, fd):
        file = self._file(fd)
        if file.locked_by not in {None, (id(self), fd)}:
            return False
        file.locked_by = (id(self), fd)
        return True

    @_call
    def rename(self, source, target):
        old, old_name = self._parent(source)
        new, new_name = self._parent(target)
        node = self._existing(source)
        if new_name in new.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        old.set(old_name, None)
        new.set(new_name, node)
        new.modified = time.time()

    @_call
    def replace(self, source, target):
        old, old_name = self._parent(source)
        new, new_name = self._parent(target)
        node = self._existing(source)
        if isinstance(new.names.get(new_name), Folder):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        if new_name in new.names:
            new.names[new_name].links -= 1
        old.set(old_name, None)
        new.set(new_name, node)

    @_call
    def remove(self, path):
        folder, name = self._parent(path)
        self._existing(path).links -= 1
        folder.set(name, None)

    @_call
    def remove_folder(self, path):
        folder, name = self._parent(path)
        if self._folder(path).names:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        folder.set(name, None)

    @_call
    def make_folder(self, path):
        folder, name = self._parent(path)
        if name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        folder.set(name, Folder())
        folder.modified = time.time()

    @_call
    def sync_folder(self, path):
        self._folder(path).sync()

    @_call
    def entries(self, path, passing=()):
        return sorted(
            Entry(
                name,
                isinstance(node, Folder),
                0 if isinstance(node, Folder) else len(node.data),
                getattr(node, "modified", 0.0),
            )
            for name, node in self._folder(path).names.items()
            if name not in passing
        )

    def release(self):
        pass

    @_call
    def space(self):
        return Space(0 if self.full else self.disk.size - self.disk.used(), self.disk.size)

"""An edit on disk is the old file or the new one, whole; with its mode, owner and links; and seen by nobody it was hidden from."""

import errno
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import textwrap
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lae_monitor.fleet import tahoe_cfg
from lae_monitor.fleet.tahoe_cfg import BadFile, BadOption, edit_file, set_option, why

ROOT = Path(__file__).parents[2]
OLD = b"[node]\nnickname = n\n#log_gatherer.furl =\n"
NEW = OLD.replace(b"#log_gatherer.furl =", b"log_gatherer.furl = pb://secret")
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: needs root (owners, mounts)")


def register(data):
    return set_option(data, "node", "log_gatherer.furl", "pb://secret")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "node" / "tahoe.cfg"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


@contextmanager
def as_nobody():
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def reached_by_all(path):
    """pytest's folders are for their owner alone."""
    folders = [folder for folder in path.parents if os.access(folder, os.W_OK) and not folder.stat().st_mode & 0o001]
    modes = [folder.stat().st_mode for folder in folders]
    for folder in folders:
        folder.chmod(0o755)
    yield path
    for folder, mode in zip(folders, modes, strict=True):
        folder.chmod(mode)


def test_file_is_edited_and_nothing_is_left_beside_it(path):
    edited = edit_file(path, register)
    assert edited == (True, OLD, NEW)
    assert path.read_bytes() == NEW
    assert names(path) == ["tahoe.cfg"]
    assert "secret" not in repr(edited)


@pytest.mark.parametrize(
    "data", [b"", b"[node]\nx = 1", b"[node]\n" + b"# \xff\r\n" * 100_000], ids=["empty", "small", "large"]
)
def test_every_size_is_written_whole(path, data):
    path.write_bytes(data)
    edit_file(str(path), register)
    assert path.read_bytes() == register(data)


@pytest.mark.parametrize(
    ("edit", "check"), [(register, True), (lambda data: data, False), (lambda data: data[:], True)]
)
def test_nothing_is_written_to_look_or_without_a_change(path, edit, check):
    path.parent.chmod(0o555)
    before = path.stat()
    edited = edit_file(path, edit, check=check)
    assert edited.changed is (edit is register)
    assert edited.after == edit(OLD)
    assert path.read_bytes() == OLD
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.parent.chmod(0o755)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400, 0o444, 0o660, 0o755, 0o664])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_mode_is_kept(path, mode, umask):
    path.chmod(mode)
    usual = os.umask(umask)
    try:
        edit_file(path, register)
    finally:
        os.umask(usual)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == NEW


@needs_root
def test_owner_and_group_are_kept(path):
    os.chown(path, NOBODY, 12)
    path.chmod(0o640)
    edit_file(path, register)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, 12, 0o640)
    assert path.read_bytes() == NEW


@needs_root
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_nobody_else_could_ever_read_it(path, monkeypatch, mode):
    """Looked at after each call: whatever holds something is no wider than the file was, and belongs to its owner."""
    os.chown(path, NOBODY, 12)
    path.chmod(mode)
    seen = []

    def looking(real):
        def call(*arguments, **keywords):
            try:
                return real(*arguments, **keywords)
            finally:
                for entry in path.parent.iterdir():
                    status = os.lstat(entry)
                    seen.append((entry.name == path.name, status.st_size, stat.S_IMODE(status.st_mode), status.st_uid))

        return call

    for name in ("fchown", "fchmod", "fsync", "rename", "setxattr", "listxattr"):
        monkeypatch.setattr(tahoe_cfg.os, name, looking(getattr(os, name)))
    usual = os.umask(0)
    try:
        edit_file(path, register)
    finally:
        os.umask(usual)
    temporary = [(size, found, owner) for is_file, size, found, owner in seen if not is_file]
    assert any(size for size, _, _ in temporary), "the test never saw the new file with something in it"
    assert all(found & ~mode & 0o077 == 0 for _, found, _ in temporary)
    assert all(owner == NOBODY for size, _, owner in temporary if size)


@needs_root
def test_another_owners_file_is_not_taken_over(reached_by_all):
    path = reached_by_all
    path.parent.chmod(0o777)
    with as_nobody(), pytest.raises(PermissionError) as refused:
        edit_file(path, register)
    assert "owner, or as root" in why(refused.value)
    assert (path.read_bytes(), path.stat().st_uid, names(path)) == (OLD, 0, ["tahoe.cfg"])


@needs_root
def test_unwritable_folder_leaves_the_file(reached_by_all):
    path = reached_by_all
    os.chown(path, NOBODY, NOBODY)
    with as_nobody(), pytest.raises(PermissionError) as refused:
        edit_file(path, register)
    assert "owner, or as root" in why(refused.value)
    assert (path.read_bytes(), names(path)) == (OLD, ["tahoe.cfg"])


@needs_root
def test_unreadable_file_is_left(reached_by_all):
    path = reached_by_all
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with as_nobody(), pytest.raises(PermissionError):
        edit_file(path, register)
    assert (path.read_bytes(), names(path)) == (OLD, ["tahoe.cfg"])


# ---- Links and what is no file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_relative", [True, False])
def test_a_symbolic_link_stays_one(path, tmp_path, is_relative):
    (tmp_path / "elsewhere").mkdir()
    first, second = tmp_path / "elsewhere" / "tahoe.cfg", tmp_path / "second.cfg"
    first.symlink_to("../second.cfg" if is_relative else second)
    second.symlink_to("node/tahoe.cfg" if is_relative else path)
    edit_file(first, register)
    assert first.is_symlink()
    assert second.is_symlink()
    assert not path.is_symlink()
    assert path.read_bytes() == first.read_bytes() == NEW
    assert [*first.parent.iterdir()] == [first]
    assert names(path) == ["tahoe.cfg"]


def test_a_link_that_leads_nowhere_is_said(path):
    link = path.parent / "link"
    link.symlink_to("missing")
    loop = path.parent / "loop"
    loop.symlink_to("loop")
    for wrong in (link, path.parent / "missing", path.parent / "no" / "folder"):
        with pytest.raises(FileNotFoundError) as refused:
            edit_file(wrong, register)
        assert "name the tahoe.cfg of a node" in why(refused.value)
    with pytest.raises((OSError, BadFile)):
        edit_file(loop, register)
    assert names(path) == ["link", "loop", "tahoe.cfg"]
    with pytest.raises(NotADirectoryError):
        edit_file(path / "tahoe.cfg", register)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_file_is_refused(path, kind):
    """And neither waited for nor opened."""
    wrong = path.parent / "wrong"
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "folder":
            wrong.mkdir()
        elif kind == "pipe":
            os.mkfifo(wrong)
        elif kind == "socket":
            here = os.open(path.parent, os.O_RDONLY)
            listening.bind(f"/proc/self/fd/{here}/wrong")  # a path may be too long for a socket
            os.close(here)
        else:
            wrong = Path("/dev/null")
        with pytest.raises(BadFile, match="no regular file; name"):
            edit_file(wrong, register)


# ---- What goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fdopen", "fchmod", "fsync", "rename", "urandom"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=["EIO", "^C"])
def test_whatever_fails_the_old_file_is_whole_and_alone(path, monkeypatch, call, error):
    """The first call of `fdopen` opens the old file: the second is the one of the new."""
    real, calls = getattr(os, call), []

    def failing(*arguments, **keywords):
        calls.append(arguments)
        if call == "fdopen" and len(calls) == 1:
            return real(*arguments, **keywords)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(tahoe_cfg.os, call, failing)
        with pytest.raises(type(error)):
            edit_file(path, register)
    assert calls
    assert (path.read_bytes(), names(path)) == (OLD, ["tahoe.cfg"])
    edit_file(path, register)
    assert path.read_bytes() == NEW


def test_a_failing_edit_changes_nothing(path):
    with pytest.raises(BadOption):
        edit_file(path, lambda data: set_option(data, "node", "x", "a\nb"))
    assert (path.read_bytes(), names(path)) == (OLD, ["tahoe.cfg"])


def test_no_descriptor_is_left_open(path):
    before = os.listdir("/proc/self/fd")
    for wrong in (path, path.parent, path.parent / "missing"):
        with suppress(OSError, BadFile, ZeroDivisionError):
            edit_file(wrong, lambda data: 1 / 0)
    edit_file(path, register)
    assert os.listdir("/proc/self/fd") == before


def test_it_is_durable_before_it_has_its_name_and_its_name_is_after(path, monkeypatch):
    done = []

    def noting(name, real):
        def call(first, *arguments, **keywords):
            done.append((name, stat.S_ISDIR(os.fstat(first).st_mode) if name == "fsync" else None))
            return real(first, *arguments, **keywords)

        return call

    for name in ("fsync", "rename"):
        monkeypatch.setattr(tahoe_cfg.os, name, noting(name, getattr(os, name)))
    edit_file(path, register)
    assert done == [("fsync", False), ("rename", None), ("fsync", True)]


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_process_that_is_killed_leaves_the_old_file_whole(path, moment):
    code = f"""
        import os, signal
        from lae_monitor.fleet.tahoe_cfg import edit_file, set_option
        os.{moment} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        edit_file({str(path)!r}, lambda data: set_option(data, "node", "log_gatherer.furl", "pb://secret"))
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    (left,) = [name for name in names(path) if name != "tahoe.cfg"]
    assert (path.parent / left).read_bytes() == NEW, "it was killed too early to prove anything"
    edit_file(path, register)
    assert path.read_bytes() == NEW


@needs_root
@pytest.mark.root
def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        path = disk / "tahoe.cfg"
        old = OLD + b"# filler\n" * 10_000
        path.write_bytes(old)
        with suppress(OSError), (disk / "hog").open("wb", buffering=0) as hog:
            while True:
                hog.write(bytes(4096))
        with pytest.raises(OSError, match="No space left") as full:
            edit_file(path, register)
        assert full.value.errno == errno.ENOSPC
        assert "free some space" in why(full.value)
        assert path.read_bytes() == old
        assert names(path) == ["hog", "tahoe.cfg"]
        (disk / "hog").unlink()
        edit_file(path, register)
        assert path.read_bytes() == register(old)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@needs_root
@pytest.mark.root
def test_a_file_that_is_a_mount_says_so(path):
    source = path.parent / "source"
    source.write_bytes(OLD)
    subprocess.run(["mount", "--bind", source, path], check=True)
    try:
        with pytest.raises(OSError, match="busy") as busy:
            edit_file(path, register)
        assert "mounted as a single file" in why(busy.value)
        assert path.read_bytes() == OLD
        assert names(path) == ["source", "tahoe.cfg"]
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("how", ["in place", "by rename", "mode"])
def test_what_somebody_else_does_meanwhile_is_not_lost(path, how):
    other = OLD + b"# theirs\n"

    def edit(data):
        if how == "in place":
            path.write_bytes(other)
        elif how == "mode":
            path.chmod(0o600)
        else:
            new = path.parent / "other"
            new.write_bytes(other)
            new.rename(path)
        return register(data)

    with pytest.raises(BadFile, match="try again"):
        edit_file(path, edit)
    assert path.read_bytes() == (OLD if how == "mode" else other)
    assert names(path) == ["tahoe.cfg"]


# ---- Attributes ----------------------------------------------------------------------------------------------------


def with_attributes(path):
    try:
        os.setxattr(path, "user.origin", b"by hand")
    except OSError as error:
        pytest.skip(f"NOT TESTED: this file system keeps no attributes ({error.strerror})")


def access_list(reader):
    """Owner rw, the account `reader` r, nobody else: Linux's own form of it, which setfacl writes."""
    entries = [
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 4, reader),
        (0x04, 0, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_attributes_and_access_list_are_kept(path):
    with_attributes(path)
    os.setxattr(path, "system.posix_acl_access", access_list(NOBODY))
    before = {name: os.getxattr(path, name) for name in os.listxattr(path)}, path.stat().st_mode
    edit_file(path, register)
    assert ({name: os.getxattr(path, name) for name in os.listxattr(path)}, path.stat().st_mode) == before
    assert len(before[0]) >= 2


def test_the_folders_access_list_lets_nobody_in(path):
    with_attributes(path)
    path.chmod(0o640)
    os.setxattr(path.parent, "system.posix_acl_default", access_list(NOBODY))
    edit_file(path, register)
    assert "system.posix_acl_access" not in os.listxattr(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

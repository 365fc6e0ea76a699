"""A destination whose disk is full: nothing half there, nothing lost, and all well again when there is room."""

import errno
import fcntl
import os
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lae_monitor.archive.outside import Differs, Outside
from lae_monitor.kinds.crashes.crashmover import config

needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a full disk. Mounting a small file system needs root"),
]


@contextmanager
def small_disk(path):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk):
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file:
        for piece in (bytes(64 * 1024), b"0"):
            with suppress(OSError):
                while True:
                    file.write(piece)
    return hog


def kinds(disk):
    return {
        "antenna": config.Antenna(fs_root=disk / "out"),
        "socorro": config.Socorro(fs_root=disk / "out"),
        "tar": config.Tar(folder=disk / "out"),
    }


@pytest.mark.parametrize("kind", ["antenna", "socorro", "tar"])
class TestFullDisk:
    pytestmark = needs_root

    def test_nothing_half_is_left_and_all_is_well_when_there_is_room(self, world, kind):
        for number in range(6):
            world.put(dumps={"upload_file_minidump": bytes([number]) * 1_000_000})
        with small_disk(world.folder / "disk") as disk:
            destination = kinds(disk)[kind]
            outcome = world.run(destination, threads=1)
            assert 0 < outcome.sent < 6
            assert outcome.left == 6 - outcome.sent
            for path in (disk / "out").rglob("*.dump"):
                assert path.stat().st_size == 1_000_000
            if kind == "tar":
                listed = subprocess.run(
                    ["tar", "tf", disk / "out/20261122.tar"], capture_output=True, text=True, check=False
                )
                assert listed.returncode == 0, listed.stderr
                assert len(listed.stdout.split()) == 2 * outcome.sent
            subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
            assert world.run(destination).sent == 6 - outcome.sent
            assert world.sent(kind) == 6

    def test_a_fallback_on_another_disk_takes_over(self, world, kind):
        world.put()
        with small_disk(world.folder / "disk") as disk:
            fill(disk)
            settings = kinds(disk)[kind]
            settings = type(settings)(
                **{field: getattr(settings, field) for field in settings.__struct_fields__ if field != "fallback"},
                fallback=config.Antenna(fs_root=world.folder / "second"),
            )
            assert world.run(settings).sent == 1
            assert len(list((world.folder / "second").glob("*/raw_crash/*"))) == 1


# ---- files outside the archive -------------------------------------------------------------------------------------


@pytest.fixture(params=["nameless", "named"])
def outside(request, monkeypatch):
    """With and without a file system that knows files without a name."""
    if request.param == "named":
        really = os.open

        def without(path, flags, *rest, **options):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "as NFS says")
            return really(path, flags, *rest, **options)

        monkeypatch.setattr(os, "open", without)
    return Outside()


def test_a_file_is_new_once_and_never_replaced(outside, tmp_path):
    path = tmp_path / "a/b/c"
    assert outside.store(path, [b"one", memoryview(b"two")]) is True
    assert outside.store(path, [b"onetwo"]) is False
    with pytest.raises(Differs):
        outside.store(path, [b"other"])
    assert path.read_bytes() == b"onetwo"
    assert [found.name for found in path.parent.iterdir()] == ["c"]


def test_a_temporary_file_of_a_killed_run_is_in_nobodys_way(outside, tmp_path):
    (tmp_path / ".c.lae-monitor").write_bytes(b"half")
    assert outside.store(tmp_path / "c", [b"whole"])
    assert (tmp_path / "c").read_bytes() == b"whole"


def test_a_link_is_new_once_and_never_replaced(outside, tmp_path):
    assert outside.symlink(tmp_path / "a/link", "../x") is True
    assert outside.symlink(tmp_path / "a/link", "../x") is False
    with pytest.raises(Differs):
        outside.symlink(tmp_path / "a/link", "../y")
    (tmp_path / "a/file").touch()
    with pytest.raises(Differs):
        outside.symlink(tmp_path / "a/file", "../y")


def test_a_folder_that_went_meanwhile_is_made_again(outside, tmp_path):
    outside.store(tmp_path / "a/b/c", [b"1"])
    (tmp_path / "a/b/c").unlink()
    (tmp_path / "a/b").rmdir()
    (tmp_path / "a").rmdir()
    assert outside.store(tmp_path / "a/b/c", [b"1"])


def test_a_file_is_extended_and_ends_as_it_should(outside, tmp_path):
    path = tmp_path / "t"
    outside.extend(path, 0, [b"one"], b"END")
    outside.extend(path, 3, [b"two"], b"END")
    assert path.read_bytes() == b"onetwoEND"
    outside.extend(path, 3, [], b"END", size=9)
    assert path.read_bytes() == b"oneEND"


@pytest.mark.parametrize(("offset", "size"), [(3, None), (0, None), (3, 7), (0, 0)])
def test_a_file_that_is_not_as_it_was_found_is_not_extended(tmp_path, offset, size):
    path = tmp_path / "t"
    path.write_bytes(b"something else")
    with pytest.raises(OSError, match="changed by somebody else"):
        Outside().extend(path, offset, [b"two"], b"END", size)
    assert path.read_bytes() == b"something else"


def test_a_file_that_somebody_extends_just_now_is_left_to_them(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"oneEND")
    with path.open("rb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            Outside().extend(path, 3, [b"two"], b"END")
    assert path.read_bytes() == b"oneEND"


def test_a_file_that_went_is_not_begun_in_its_middle(tmp_path):
    with pytest.raises(FileNotFoundError):
        Outside().extend(tmp_path / "t", 3, [b"two"], b"END")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_that_does_not_read_back_goes_away_again(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, b"?" * len(data)))
    with pytest.raises(OSError, match="is not what was written"):
        Outside().store(tmp_path / "a", [b"1"])
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    assert Outside().store(tmp_path / "a", [b"1"])


def test_a_link_whose_reader_was_quicker_is_no_failure(tmp_path, monkeypatch):
    link = Path.symlink_to

    def taken_at_once(path, target):
        link(path, target)
        path.unlink()
        path.parent.rmdir()

    monkeypatch.setattr(Path, "symlink_to", taken_at_once)
    assert Outside().symlink(tmp_path / "slot/id", "../x")


def test_where_no_folder_can_be_made_it_says_so():
    with pytest.raises(FileNotFoundError):
        Outside().make_folder(Path("/proc/no/such/folder"))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a full disk. Mounting a small file system needs root")
def test_what_does_not_fit_leaves_the_file_as_it_was(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        outside = Outside()
        outside.extend(disk / "t", 0, [b"one"], b"END")
        with pytest.raises(OSError):
            outside.extend(disk / "t", 3, [bytes(8 * 1024 * 1024)], b"END")
        assert (disk / "t").read_bytes() == b"oneEND"
        with pytest.raises(OSError):
            outside.store(disk / "new", [bytes(8 * 1024 * 1024)])
        assert [path.name for path in disk.iterdir()] == ["t"]


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_files_for_others_have_the_mode_that_was_asked_for_whatever_our_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        outside = Outside(0o027)
        outside.extend(tmp_path / "t" / "new.tar", 0, [b"one"], b"END")
        outside.store(tmp_path / "t" / "file", [b"1"])
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "t", *(tmp_path / "t").iterdir())}
    assert modes == {"t": 0o750, "new.tar": 0o640, "file": 0o640}

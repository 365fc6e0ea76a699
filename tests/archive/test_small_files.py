"""A small file is replaced whole and durably, whatever is killed when; a lock is held by one process, and no longer than it lives."""

import errno
import os
import subprocess
import sys
import time

import pytest

from lae_monitor.archive.small_files import hold, is_held, locked, read_or_make, replace

WRITER = """
import sys
from pathlib import Path
from lae_monitor.archive.small_files import replace
while True:
    for letter in b"ab":
        replace(Path(sys.argv[1]), bytes([letter]) * 100_000)
        print(flush=True)
"""
HOLDER = """
import sys, time
from pathlib import Path
from lae_monitor.archive.small_files import hold
fd = hold(Path(sys.argv[1]))
print(flush=True)
time.sleep(60)
"""


def started(program, path):
    process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    process.stdout.readline()  # it has done it once
    return process


def killed(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_killed_replacement_leaves_the_old_content_or_the_new(tmp_path):
    path = tmp_path / "secret"
    for number in range(5):
        process = started(WRITER, path)
        until = time.monotonic() + 0.05 + number / 100
        while time.monotonic() < until:
            assert path.read_bytes() in {b"a" * 100_000, b"b" * 100_000}
        killed(process)
        assert path.read_bytes() in {b"a" * 100_000, b"b" * 100_000}


def test_content_is_synced_before_it_has_the_name_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        really = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, really=really, **k: (calls.append(name), really(*a, **k))[1]
        )
    replace(tmp_path / "x", b"new")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_full_disk_leaves_the_old_content_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "x"
    replace(path, b"old")

    def full(_fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_only_this_account_may_read_it_and_an_older_one_is_closed_to_others(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"of another program")
    path.chmod(0o644)
    assert read_or_make(path, lambda: b"") == (b"of another program", False)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    replace(path, b"ours")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "x").symlink_to("elsewhere")
    replace(tmp_path / "x", b"ours")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert (tmp_path / "x").read_bytes() == b"ours"


def test_a_lock_is_held_by_one_process_until_it_is_killed(tmp_path):
    path = tmp_path / "x.lock"
    assert not is_held(path)
    holder = started(HOLDER, path)
    assert is_held(path)
    for within in (0, 0.1):
        with pytest.raises(BlockingIOError):
            hold(path, within=within)
    killed(holder)
    assert not is_held(path)
    os.close(hold(path, within=0))


def test_asking_keeps_no_process_from_starting(tmp_path):
    (tmp_path / "x.lock").touch()
    asker = started(
        "import sys\nfrom pathlib import Path\nfrom lae_monitor.archive.small_files import is_held\n"
        "print(flush=True)\nwhile True:\n    is_held(Path(sys.argv[1]))",
        tmp_path / "x.lock",
    )
    try:
        for _ in range(200):
            os.close(hold(tmp_path / "x.lock", within=2.0))
    finally:
        killed(asker)


def test_the_lock_of_a_folder_makes_the_folder(tmp_path):
    with locked(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700

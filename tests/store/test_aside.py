"""What is set aside may be a link, or a disk of its own: neither can be renamed as a folder can."""

import os
import subprocess

import pytest

from lae_monitor.store import aside


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "metadata").mkdir()
    (folder / "metadata" / "lae.sql").write_text("garbage")
    return folder


def set_aside_twice(path):
    first = aside.set_aside(path, "garbage")
    assert (first / "metadata" / "lae.sql").read_text() == "garbage"
    assert list(path.glob("[!.]*")) == [], "begun anew"
    (path / "metadata").mkdir()
    second = aside.set_aside(path, "garbage")
    assert aside.asides(path) == [second], "an earlier one went"
    aside.remove(second)
    assert aside.asides(path) == []
    assert path.is_dir()


def test_a_folder_with_wild_cards_in_its_name(store):
    set_aside_twice(store.rename(store.with_name("store[1]*")))


def test_a_link_stays_and_what_it_leads_to_is_set_aside(store):
    disk = store.rename(store.with_name("big"))
    store.symlink_to(disk)
    set_aside_twice(store)
    assert store.is_symlink()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: mounting needs root")
def test_a_disk_of_its_own_keeps_what_is_set_aside(store):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(store)], check=True)
    try:
        (store / "metadata").mkdir()
        (store / "metadata" / "lae.sql").write_text("garbage")
        (store / ".lae-monitor").write_text("whose it is")
        set_aside_twice(store)
        assert (store / ".lae-monitor").exists()
    finally:
        subprocess.run(["umount", str(store)], check=True)


def test_the_next_process_says_too_what_was_set_aside(store, monkeypatch):
    place = aside.set_aside(store, "garbage")
    monkeypatch.setattr(aside, "_notices", {})  # as after a restart
    aside.remember(store)
    [notice] = aside.notices()
    assert str(place) in notice
    aside.remove(place)
    assert aside.notices() == []


def test_a_long_reason_is_shown_short_and_logged_whole(store, caplog):
    why = "Code: 62. Syntax error: failed at position 1 (\x07\x1b[2J\n" + "garbage " * 50 + "the end)"
    place = aside.set_aside(store, why)
    (notice,) = [one for one in aside.notices() if str(place) in one]
    said, reason = notice.split(". The reason: ")
    assert said == f"{store} could not be opened and is made anew; the old one is {place}"
    assert reason.startswith("Code: 62. Syntax error")
    assert len(reason) <= 160
    assert notice.isprintable()
    assert "the end)" in caplog.text
    assert "\x1b" not in caplog.text
    aside.remove(place)

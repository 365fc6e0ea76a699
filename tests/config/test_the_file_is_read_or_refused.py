"""A configuration file that is there is read, or refused with a sentence; it is never taken for a missing one."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from lae_monitor.config import ConfigError, load
from lae_monitor.kinds import KINDS


def refused(path):
    with pytest.raises(ConfigError) as caught:
        load(path, KINDS, {})
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@contextmanager
def nobody():
    """As an account that may read nothing of root's."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_the_default_file_may_be_missing(default):
    settings = load(None, KINDS, {})
    assert settings.source is None
    assert settings.state.path == Path("/var/lib/lae-monitor")


def test_a_default_file_that_is_there_is_read(default):
    default.write_text("fleet.name = 'x'")
    settings = load(None, KINDS, {})
    assert (settings.fleet.name, settings.source) == ("x", default)


def test_a_default_file_that_cannot_be_read_is_an_error(default):
    default.write_text("fleet.name = 'x'")
    default.chmod(0)
    with nobody():
        assert "cannot be read: Permission denied" in refused(None)


def test_a_default_file_that_is_a_link_to_nothing_is_an_error(default):
    default.symlink_to(default.parent / "gone")
    assert "there is no such file" in refused(None)


def test_a_named_file_has_to_be_there(tmp_path):
    assert (
        refused(tmp_path / "x.toml") == f"{tmp_path}/x.toml: there is no such file; lae-monitor config new writes one"
    )


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("")
    assert refused(tmp_path).endswith("is a folder")
    assert refused(tmp_path / "pipe").endswith("is no plain file")
    assert refused(Path("/dev/zero")).endswith("is no plain file")
    assert "Too many levels of symbolic links" in refused(tmp_path / "loop")
    assert "Not a directory" in refused(tmp_path / "file" / "x.toml")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"fleet.name = 'x'\n# caf\xe9\n", "line 2 is not UTF-8"),
        (b"fleet.name = 'x'\x00", "not TOML:"),
        (b"[fleet\n", "not TOML:"),
        (b"fleet.name = 'x'\nfleet.name = 'y'\n", "not TOML: Cannot overwrite a value"),
        (b"# " + b"x" * 10_000_000, "is larger than 1048576 bytes"),
        (b"x = " + b"[" * 100_000, "not TOML:"),
        (b"x = " + b"9" * 5000, "not TOML:"),
        ("﻿[fleet".encode(), "not TOML:"),
    ],
    ids=range(8),
)
def test_what_is_no_toml_is_refused(tmp_path, data, sentence):
    file = tmp_path / "a.toml"
    file.write_bytes(data)
    assert refused(file).startswith(f"{file}: {sentence}")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbf[fleet]\r\nname = 'x'\r\n")
    assert load(file, KINDS, {}).fleet.name == "x"


def test_links_to_a_file_are_followed(tmp_path):
    (tmp_path / "real.toml").write_text("fleet.name = 'x'")
    (tmp_path / "a.toml").symlink_to("real.toml")
    assert load(tmp_path / "a.toml", KINDS, {}).fleet.name == "x"


# ---- relative paths ------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_files_folder_and_end_up_absolute(tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "conf", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "a.toml").write_text("state.path = 'state'\narchive.roots = ['one', '/two', '~/three', './state/four']")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(elsewhere)
    for path in (folder / "a.toml", Path("../conf/a.toml")):
        settings = load(path, KINDS, {})
        assert settings.state.path.resolve() == folder / "state"
        assert settings.state.path.is_absolute()
        assert [root.resolve() for root in settings.archive_roots] == [
            folder / "one",
            Path("/two"),
            Path("/home/somebody/three"),
            folder / "state/four",
        ]


def test_paths_in_the_environment_are_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.toml").write_text("")
    settings = load(tmp_path / "conf" / "a.toml", KINDS, {"LAE_MONITOR__STATE__PATH": "state"})
    assert settings.state.path == tmp_path / "state"
    assert settings.store_path == tmp_path / "state" / "store"
    assert settings.archive_roots == [tmp_path / "state" / "archive"]
    assert settings.credentials == tmp_path / "state" / "credentials"

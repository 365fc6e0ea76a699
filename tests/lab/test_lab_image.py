"""The image is made once, is whole or is not there, and comes from where this machine's packages come from."""

import os
import threading
import time

import lab_apt
import lab_image
import lab_tree
import lab_wheels
import pytest
from lab_places import LabError, Places


@pytest.fixture
def made(tmp_path, monkeypatch):
    """An image that takes no time: what was made of it, in order."""
    steps = []

    def step(name):
        def record(tree, *_arguments):
            steps.append(name)
            tree.mkdir(parents=True, exist_ok=True)

        return record

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lab_wheels, "pins", lambda: "tahoe-lafs==1\n")
    monkeypatch.setattr(lab_wheels, "make", lambda _pins, folder: folder.mkdir())
    for name in ("debootstrap", "install_tahoe", "make_template"):
        monkeypatch.setattr(lab_tree, name, step(name))
    monkeypatch.setattr(lab_tree, "pack", lambda _tree, storage, *_rest: storage.mkdir())
    return steps


def silent(_text):
    pass


def test_it_is_made_once_and_found_again(made):
    folder = lab_image.ensure(silent)
    assert lab_image.ensure(silent) == folder
    assert made == ["debootstrap", "install_tahoe", "make_template"]
    assert [path.name for path in folder.iterdir()] == ["storage"]


def test_of_two_at_once_one_waits_for_the_other(made, monkeypatch):
    begun = threading.Event()
    said = []

    def slow(tree, *_arguments):
        made.append("debootstrap")
        tree.mkdir(parents=True)
        begun.set()
        while not said:
            time.sleep(0.01)

    monkeypatch.setattr(lab_tree, "debootstrap", slow)
    first = threading.Thread(target=lab_image.ensure, args=(silent,))
    first.start()
    assert begun.wait(10)
    lab_image.ensure(said.append)
    first.join()
    assert made.count("debootstrap") == 1
    assert said == ["another process makes an image; waiting for it ..."]


def test_what_fails_half_way_is_not_there(made, monkeypatch):
    def broken(_tree, _lock):
        raise LabError("no space left")

    monkeypatch.setattr(lab_tree, "install_tahoe", broken)
    with pytest.raises(LabError, match="no space left"):
        lab_image.ensure(silent)
    assert not lab_image.is_made()
    assert sorted(path.name for path in lab_image.cache().iterdir()) == ["debs", "lock"]


def test_what_a_killed_build_left_is_removed(made):
    left = lab_image.cache() / f"{lab_image.identity()}.part" / "tree"
    left.mkdir(parents=True)
    assert lab_image.ensure(silent).is_dir()
    assert not left.parent.exists()


def test_older_images_are_removed_unless_asked_for_just_now(made, monkeypatch):
    old = lab_image.ensure(silent)
    monkeypatch.setattr(lab_wheels, "pins", lambda: "tahoe-lafs==2\n")
    newer = lab_image.ensure(silent)
    assert old.is_dir()
    long_ago = time.time() - 2 * lab_image.JUST_ASKED_FOR
    os.utime(old, (long_ago, long_ago))
    monkeypatch.setattr(lab_wheels, "pins", lambda: "tahoe-lafs==3\n")
    lab_image.ensure(silent)
    assert (old.exists(), newer.exists()) == (False, True)


def test_other_packages_make_another_image(made, monkeypatch, tmp_path):
    before = lab_image.identity()
    listed = tmp_path / "packages.txt"
    listed.write_text(lab_tree.PACKAGES.read_text() + "nano  # for people\n")
    monkeypatch.setattr(lab_tree, "PACKAGES", listed)
    assert lab_image.identity() != before


def test_every_package_has_a_reason():
    lines = [line for line in lab_tree.PACKAGES.read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not line.partition("#")[2].strip()] == []
    assert lab_tree.packages() == [line.split()[0] for line in lines]


SOURCES = {
    "sources.list": "# deb http://commented/ trixie main\ndeb http://one.line/debian trixie main contrib # a mirror\n",
    "sources.list.d/a.list": "deb [arch=amd64 signed-by={key}] http://signed.line/debian sid main\ndeb-src http://x/ woody main\n",
    "sources.list.d/b.sources": (
        "# the first\nTypes: deb deb-src\nURIs: http://stanza/debian\nSuites: bookworm\n bookworm-updates\n"
        "Components: main\n# in between\nSigned-By: {key}\n\n"
        "Types: deb\nEnabled: no\nURIs: http://disabled/\nSuites: buster\nComponents: main\n\n"
        "Types: deb\nURIs: cdrom:disc\nSuites: bullseye\nComponents: main\n"
    ),
}


@pytest.fixture
def apt(tmp_path, monkeypatch):
    key = tmp_path / "key.gpg"
    key.touch()
    monkeypatch.setattr(lab_apt, "KEYRING", key)
    (tmp_path / "sources.list.d").mkdir()
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text.format(key=key))
    return tmp_path


@pytest.mark.parametrize(
    ("suite", "uri"),
    [
        ("trixie", "http://one.line/debian"),
        ("sid", "http://signed.line/debian"),
        ("bookworm", "http://stanza/debian"),
        ("bookworm-updates", "http://stanza/debian"),
    ],
)
def test_apts_sources_are_read_in_both_forms(apt, suite, uri):
    found = lab_apt.source_of(suite, apt)
    assert (found.uri, found.keyring) == (uri, apt / "key.gpg")


@pytest.mark.parametrize("suite", ["woody", "buster", "bullseye", "jessie"])
def test_what_apt_does_not_fetch_packages_from_is_no_source(apt, suite):
    with pytest.raises(LabError, match=f"no source of {suite}/main"):
        lab_apt.source_of(suite, apt)


def test_a_missing_keyring_is_named(apt):
    (apt / "key.gpg").unlink()
    with pytest.raises(LabError, match=r"key\.gpg is missing"):
        lab_apt.source_of("bookworm", apt)


def test_tahoe_is_pinned_with_all_that_it_needs():
    try:
        pins = lab_wheels.pins()
    except LabError as error:
        pytest.skip(str(error))
    assert "tahoe-lafs==1.20.0" in pins
    assert "foolscap==" in pins
    assert "ansible==" not in pins
    blocks = [block for block in pins.split("\n") if "==" in block.partition("#")[0] and not block.startswith(" ")]
    assert all(block.rstrip().endswith("\\") for block in blocks), "each has its hashes"


@pytest.mark.parametrize("name", ["", "UP", "../up", "a b", "1", "a" * 25])
def test_a_lab_is_named_so_that_its_folders_are_its_own(name):
    with pytest.raises(LabError, match="no name for a lab"):
        Places(name)

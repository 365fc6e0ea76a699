"""Each layout is written as its own readers want it; the readers here follow the layouts' descriptions, not our code."""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lae_monitor.core.names import CrashId
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import Crash, depth_of, object_keys, radix_of, slot_of
from lae_monitor.kinds.crashes.crashmover.tarball import Tarball

NOW = datetime(2026, 11, 22, 7, 8, 59, tzinfo=UTC).timestamp()


def clock():
    return NOW


# ---- Antenna -------------------------------------------------------------------------------------------------------


def antenna_reader(root: Path, crash_id: str):
    """As Antenna's file storage is described: the raw crash, the list of names, a file for each."""
    day = root / ("20" + crash_id[-6:])
    document = json.loads((day / "raw_crash" / (crash_id + ".json")).read_text())
    names = json.loads((day / "dump_names" / (crash_id + ".json")).read_text())
    return document, {name: (day / name / crash_id).read_bytes() for name in names}


def test_antennas_files_byte_by_byte(world):
    crash = world.put(dumps={"upload_file_minidump": b"MDMP1", "a_very_long_name_that_is_not_shortened": b"2"})
    world.run(config.Antenna(fs_root=world.folder / "out"))
    found = {
        str(path.relative_to(world.folder / "out")): path.read_bytes()
        for path in (world.folder / "out").rglob("*")
        if path.is_file()
    }
    assert found == {
        f"20261122/raw_crash/{crash.id}.json": json.dumps(crash.document, sort_keys=True).encode(),
        f"20261122/dump_names/{crash.id}.json": b'["a_very_long_name_that_is_not_shortened", "upload_file_minidump"]',
        f"20261122/upload_file_minidump/{crash.id}": b"MDMP1",
        f"20261122/a_very_long_name_that_is_not_shortened/{crash.id}": b"2",
    }


def test_a_crash_without_dumps_has_an_empty_list(world):
    crash = world.put(dumps={})
    world.run(config.Antenna(fs_root=world.folder / "out"))
    assert antenna_reader(world.folder / "out", crash.id) == (crash.document, {})


def test_antennas_reader_finds_every_crash(world):
    for number in range(20):
        world.put(digit=number % 2, day=f"26112{number % 5}", Serial=str(number))
    world.run(config.Antenna(fs_root=world.folder / "out"))
    for crash in world.crashes:
        assert antenna_reader(world.folder / "out", crash.id) == (crash.document, crash.dumps)


def test_others_may_not_read_what_the_mask_forbids(world):
    world.put()
    world.run(config.Antenna(fs_root=world.folder / "out", umask="077"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (world.folder / "out").rglob("*")}
    assert modes == {0o600, 0o700}


# ---- Socorro -------------------------------------------------------------------------------------------------------


def new_crashes(root: Path, legacy: bool, current: str):
    """As Socorro's new_crashes() is described: days, slots before the current one, links; takes both links away."""
    for day in sorted(root.iterdir()):
        for hour in sorted((day / "date").iterdir()):
            for slot in sorted(hour.iterdir()):
                if f"{day.name}/{hour.name}/{slot.name}" >= current:
                    continue
                for link in sorted(slot.iterdir()):
                    assert link.is_symlink()
                    crash_id = link.name
                    target = Path(os.path.normpath(slot / os.readlink(link)))
                    assert (target / (crash_id + ".json")).is_file()
                    yield crash_id, target
                    back = target / (crash_id if legacy else "date_root")
                    assert Path(os.path.normpath(target / os.readlink(back))) == slot
                    back.unlink()
                    link.unlink()
                slot.rmdir()


def socorro_reader(root: Path, crash_id: str, legacy: bool):
    """By the name alone: digit of the id -> depth, 0 -> 4, two characters a folder."""
    depth = int(crash_id[-7]) or 4
    folder = root / ("20" + crash_id[-6:]) / "name"
    for number in range(depth):
        folder /= crash_id[2 * number : 2 * number + 2]
    if not legacy:
        folder /= crash_id
    document = json.loads((folder / (crash_id + ".json")).read_text())
    dumps = {}
    for path in folder.glob(crash_id + "*.dump"):
        name = path.name[len(crash_id) : -len(".dump")].lstrip(".") or "upload_file_minidump"
        dumps[name] = path.read_bytes()
    return document, dumps


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "new"])
def test_socorros_readers_find_every_crash_by_date_and_by_name(world, legacy):
    for digit in (0, 1, 2, 3, 4):
        world.put(digit=digit, day="261122")
        world.put(digit=digit, day="261101")
    root = world.folder / "out"
    world.run(config.Socorro(fs_root=root, style="legacy" if legacy else "new"), clock=clock)
    for crash in world.crashes:
        document, dumps = socorro_reader(root, crash.id, legacy)
        assert dumps == crash.dumps
        assert document["ProductName"] == "Firefox"
    assert list(new_crashes(root, legacy, "20261101/07/08_14")) == [], "the slot that is being written is left alone"
    found = dict(new_crashes(root, legacy, "20261122/07/08_15"))
    assert set(found) == {crash.id for crash in world.crashes}
    assert list(new_crashes(root, legacy, "99")) == []


@pytest.mark.parametrize(
    ("style", "digit", "name", "back", "up"),
    [
        ("legacy", 2, "name/0b/ba", "{id}", "../../../date/07/08_14"),
        ("new", 2, "name/0b/ba/{id}", "date_root", "../../../../date/07/08_14"),
        ("legacy", 0, "name/0b/ba/92/9f", "{id}", "../../../../../date/07/08_14"),
        ("new", 1, "name/0b/{id}", "date_root", "../../../date/07/08_14"),
    ],
)
def test_links_of_socorro_letter_by_letter(world, style, digit, name, back, up, monkeypatch):
    monkeypatch.setattr("uuid.uuid4", lambda: "0bba929f-8721-460c-8e70-a43c95000000")
    crash = world.put(digit=digit)
    crash_id = crash.id
    world.run(config.Socorro(fs_root=world.folder / "out", style=style), clock=clock)
    day = world.folder / "out/20261122"
    assert os.readlink(day / "date/07/08_14" / crash_id) == f"../../../{name.format(id=crash_id)}"
    folder = day / name.format(id=crash_id)
    assert os.readlink(folder / back.format(id=crash_id)) == up
    assert {path.name for path in folder.iterdir()} == {
        back.format(id=crash_id), f"{crash_id}.json", f"{crash_id}.dump", f"{crash_id}.memory_report.dump",
    }  # fmt: skip


def test_socorros_raw_crash_has_its_own_fields(world):
    plain = world.put(digit=2, metadata={"legacy_processing": 1, "throttle_rate": 10})
    root = world.folder / "out"
    world.run(config.Socorro(fs_root=root), clock=clock)
    document, dumps = socorro_reader(root, plain.id, legacy=True)
    sums = {name: hashlib.md5(data).hexdigest() for name, data in dumps.items()}
    assert document == plain.document | {
        "legacy_processing": 1,
        "throttle_rate": 10,
        "timestamp": datetime(2026, 11, 22, 10, 11, 12, 13, tzinfo=UTC).timestamp(),
        "type_tag": "bp",
        "dump_checksums": sums,
    }


def test_a_slot_that_its_reader_removed_is_made_again(world):
    root = world.folder / "out"
    first = world.put(digit=1)
    world.run(config.Socorro(fs_root=root), clock=clock)
    assert [crash_id for crash_id, _ in new_crashes(root, True, "99")] == [first.id]
    second = world.put(digit=1)
    world.run(config.Socorro(fs_root=root), clock=clock)
    assert [crash_id for crash_id, _ in new_crashes(root, True, "99")] == [second.id]


def test_an_interrupted_save_goes_on_in_the_slot_that_its_back_link_names(world):
    root = world.folder / "out"
    crash = world.put(digit=1)
    world.run(config.Socorro(fs_root=root), clock=clock)
    (link,) = (root / "20261122/date").glob("*/*/*")
    link.unlink()  # as if it had been killed before the last step
    (world.folder / "crashmover.db").unlink()
    assert world.run(config.Socorro(fs_root=root), clock=lambda: NOW + 3600).sent == 1
    assert [path.relative_to(root) for path in (root / "20261122/date").glob("*/*/*")] == [link.relative_to(root)]
    assert [crash_id for crash_id, _ in new_crashes(root, True, "99")] == [crash.id]


# ---- object keys, tar ----------------------------------------------------------------------------------------------


def test_keys_of_the_object_store():
    crash_id = CrashId("0bba929f-8721-460c-8e70-a43c90261122")
    keys = object_keys(crash_id, ["memory_report", "upload_file_minidump"], "/a/b/")
    assert list(keys.items()) == [
        ("dump_names", f"a/b/v1/dump_names/{crash_id}"),
        ("memory_report", f"a/b/v1/memory_report/{crash_id}"),
        ("upload_file_minidump", f"a/b/v1/dump/{crash_id}"),
        ("raw_crash", f"a/b/v1/raw_crash/{crash_id.day}/{crash_id}"),
    ]
    assert object_keys(crash_id, [], "")["raw_crash"] == f"v1/raw_crash/{crash_id.day}/{crash_id}"


@pytest.mark.parametrize(("digit", "depth"), [(0, 4), (1, 1), (2, 2), (3, 3), (4, 4)])
def test_the_digit_says_how_deep(digit, depth):
    crash_id = CrashId(f"0bba929f-8721-460c-8e70-a43c9{digit}261122")
    assert depth_of(crash_id) == depth
    assert radix_of(crash_id) == ["0b", "ba", "92", "9f"][:depth]


@pytest.mark.parametrize(
    ("second", "interval", "slot"),
    [(0, 4, "00_00"), (3, 4, "00_00"), (4, 4, "00_01"), (59, 4, "00_14"), (59, 1, "00_59")],
)
def test_slots(second, interval, slot):
    assert slot_of(second, interval) == f"00/{slot}"


def test_tar_files_are_read_by_any_reader_of_tar_files(world):
    for number in range(5):
        world.put(day=f"26112{number % 2}")
    world.run(config.Tar(folder=world.folder / "days"), config.Tar(name="by-two", folder=world.folder / "two", per=2))
    assert sorted(path.name for path in (world.folder / "days").iterdir()) == ["20261120.tar", "20261121.tar"]
    assert len(list((world.folder / "two").iterdir())) == 3
    for folder in ("days", "two"):
        found = {}
        for path in (world.folder / folder).iterdir():
            with tarfile.open(path) as tar:
                members = tar.getmembers()
                found |= {info.name: tar.extractfile(info).read() for info in members}
                assert members[-1].name.endswith(".json"), "the raw crash is the last of a crash"
        for crash in world.crashes:
            assert json.loads(found.pop(f"{crash.id}.json")) == crash.document
            assert found.pop(f"{crash.id}.dump") == crash.dumps["upload_file_minidump"]
            assert found.pop(f"{crash.id}.memory_report.dump") == crash.dumps["memory_report"]
        assert found == {}


def test_what_a_killed_run_left_of_a_tar_file_is_cut_off(world):
    world.put(), world.put()
    world.run(config.Tar(folder=world.folder / "out"))
    (path,) = (world.folder / "out").iterdir()
    whole = path.read_bytes()
    (world.folder / "crashmover.db").unlink()
    for end in range(1, len(whole), 700):
        path.write_bytes(whole[:end])
        assert world.run(config.Tar(folder=world.folder / "out")).sent == 2
        with tarfile.open(path) as tar:
            assert sorted(tar.getnames()) == sorted({*tar.getnames()})
            assert len(tar.getnames()) == 6
        assert path.stat().st_size == len(whole)
        (world.folder / "crashmover.db").unlink()


def gzipped(_whole: bytes, _end: int) -> bytes:
    return gzip.compress(b"somebody's" * 100)


def short(_whole: bytes, _end: int) -> bytes:
    return b"a note"


def another_tar(_whole: bytes, _end: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("photo.jpg"))
    return buffer.getvalue()


def ours_and_another(whole: bytes, end: int) -> bytes:
    return whole[:end] + another_tar(whole, end)


def torn_and_another(whole: bytes, end: int) -> bytes:
    info = tarfile.TarInfo("photo.jpg")
    info.size = 5000
    return whole[:end] + info.tobuf() + b"p" * 700


@pytest.mark.parametrize("made", [gzipped, short, another_tar, ours_and_another, torn_and_another])
def test_a_foreign_file_with_the_name_of_a_tar_file_stays_as_it_is(world, made):
    world.put()
    world.run(config.Tar(folder=world.folder / "out"))
    (path,) = (world.folder / "out").iterdir()
    foreign = made(path.read_bytes(), path.stat().st_size - 1024)
    path.write_bytes(foreign)
    world.put()
    assert world.run(config.Tar(folder=world.folder / "out")).dead == 1
    assert path.read_bytes() == foreign
    assert "another file has this name" in world.dead()[0].error


@pytest.mark.parametrize("member", range(1, 6))
def test_a_tar_file_that_is_damaged_stays_as_it_is(world, member):
    world.put(), world.put()
    world.run(config.Tar(folder=world.folder / "out"))
    (path,) = (world.folder / "out").iterdir()
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[member].offset
    damaged = bytearray(path.read_bytes())
    damaged[offset + 150] ^= 0xFF
    path.write_bytes(damaged)
    new = world.put()
    assert world.run(config.Tar(folder=world.folder / "out")).left == 1
    assert path.read_bytes() == damaged
    assert f"damaged at offset {offset}" in world.of(new)["tar"]["error"]


@pytest.mark.parametrize("name", ["memory_report", "n" * 90])
def test_a_first_member_that_is_torn_is_cut_off(world, name):
    world.put(dumps={name: b"x"})
    world.run(config.Tar(folder=world.folder / "out"))
    (path,) = (world.folder / "out").iterdir()
    whole = path.read_bytes()
    for end in range(0, len(whole), 255):
        path.write_bytes(whole[:end])
        (world.folder / "crashmover.db").unlink()
        assert world.run(config.Tar(folder=world.folder / "out")).sent == 1, end
        assert path.read_bytes() == whole


def test_a_tar_file_that_is_moved_away_meanwhile_is_begun_anew(world):
    tarball = Tarball(config.Tar(folder=world.folder / "out"))
    crashes = [world.put() for _ in range(3)]
    for number, crash in enumerate(crashes):
        tarball.save(Crash(CrashId(crash.id), json.dumps(crash.document).encode(), crash.document, crash.dumps))
        path = world.folder / "out" / f"{crash.day}.tar"
        with tarfile.open(path) as tar:
            assert [info.name[:36] for info in tar] == [crash.id] * 3
        path.rename(world.folder / f"moved-{number}")

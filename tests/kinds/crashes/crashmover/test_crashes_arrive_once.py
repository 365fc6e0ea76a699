"""Every destination gets every crash that is meant for it, once; what fails is tried again; what cannot be read stays."""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import time
import uuid
from pathlib import Path

import pytest

from lae_monitor.core.names import CrashId
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.lane import delay

CASES = Path(__file__).parent / "cases"


def raw_crashes(folder):
    return {path.stem for path in folder.glob("*/raw_crash/*.json")}


def ids(world):
    return {crash.id for crash in world.crashes}


def test_each_of_several_destinations_gets_every_crash_and_a_second_run_sends_nothing(world):
    for _ in range(10):
        world.put()
    wanted = (
        config.Antenna(fs_root=world.folder / "a"),
        config.Antenna(name="b", fs_root=world.folder / "b"),
        config.Nowhere(),
    )
    assert world.run(*wanted).sent == 30
    assert raw_crashes(world.folder / "a") == raw_crashes(world.folder / "b") == ids(world)
    before = {path: path.stat().st_ino for path in world.folder.glob("a/**/*")}
    assert world.run(*wanted).sent == 0
    assert {path: path.stat().st_ino for path in world.folder.glob("a/**/*")} == before


def test_a_destination_that_is_new_gets_what_is_old(world):
    for _ in range(3):
        world.put()
    world.run(config.Nowhere())
    assert world.run(config.Nowhere(), config.Antenna(fs_root=world.folder / "a")).sent == 3
    assert raw_crashes(world.folder / "a") == ids(world)


def test_one_that_comes_while_it_runs_is_noticed(world):
    world.put()

    async def meanwhile():
        async with asyncio.timeout(60):
            while raw_crashes(world.folder / "a") != ids(world):
                await asyncio.sleep(0.01)
        today = time.strftime("%y%m%d", time.gmtime())
        for day in ("261122", "250101", today):
            world.put(day=day)

    world.run_until(
        lambda: len(world.crashes) == 4 and raw_crashes(world.folder / "a") == ids(world),
        config.Antenna(fs_root=world.folder / "a"),
        meanwhile=meanwhile,
    )


def test_a_fallback_root_of_the_archive_is_looked_at_too(world):
    first = world.put()
    away = world.folder / "away"
    second = world.put()
    target = away / second.path.relative_to(world.archive)
    target.parent.mkdir(parents=True)
    second.path.rename(target)
    world.run(config.Antenna(fs_root=world.folder / "a"), roots=[world.archive, away])
    assert raw_crashes(world.folder / "a") == {first.id, second.id}


def test_a_count_takes_those_that_wait_longest_and_leaves_the_others(world):
    for number in range(5):
        world.put(day=f"26111{number}")
    outcome = world.run(config.Nowhere(), count=2)
    assert (outcome.sent, outcome.left) == (2, 3)
    assert world.run(config.Nowhere(), count=10).sent == 3


# ---- what goes where -----------------------------------------------------------------------------------------------


def test_accepted_and_deferred_go_to_places_of_their_own(world):
    accepted = world.put(digit=0)
    deferred = world.put(digit=1)
    said = world.put(digit=2, metadata={"legacy_processing": 1})  # the digit is a depth here
    not_said = world.put(digit=1, metadata={"legacy_processing": 0})
    outcome = world.run(
        config.Antenna(name="primary", fs_root=world.folder / "p", only="accepted"),
        config.Antenna(name="deferred", fs_root=world.folder / "d", only="deferred"),
    )
    assert (outcome.sent, outcome.skipped) == (4, 4)
    assert raw_crashes(world.folder / "p") == {accepted.id, not_said.id}
    assert raw_crashes(world.folder / "d") == {deferred.id, said.id}


def test_a_migration_goes_by_the_day(world):
    for day in ("261119", "261120", "261121", "261122"):
        world.put(day=day)
    world.run(
        config.Antenna(name="old", fs_root=world.folder / "old", until_day="20261120"),
        config.Antenna(name="new", fs_root=world.folder / "new", from_day="20261121"),
    )
    assert sorted(path.name for path in (world.folder / "old").iterdir()) == ["20261119", "20261120"]
    assert sorted(path.name for path in (world.folder / "new").iterdir()) == ["20261121", "20261122"]


def test_products(world):
    firefox, other = world.put(), world.put(ProductName="Thunderbird")
    world.run(config.Antenna(fs_root=world.folder / "a", products=["Thunderbird"]))
    assert raw_crashes(world.folder / "a") == {other.id}
    assert world.of(firefox)["antenna"]["state"] == "skipped"


def test_redaction_reaches_into_what_an_annotation_holds(world):
    environment = {"profile": {"creationDate": 1, "name": "x"}, "settings": {"a": 1}}
    crash = world.put(
        Email="a@b",
        TelemetryEnvironment=json.dumps(environment),
        Nested={"a": {"b": 1, "c": 2}},
        **{"dotted.name": "x"},
    )
    world.run(
        config.Antenna(
            fs_root=world.folder / "a",
            redact=[
                "Email",
                "TelemetryEnvironment.profile",
                "Nested.a.b",
                "dotted.name",
                "no.such.thing",
                "metadata.host",
            ],
        ),
        config.Antenna(name="whole", fs_root=world.folder / "whole"),
    )
    found = json.loads(next((world.folder / "a").glob("*/raw_crash/*")).read_text())
    assert "Email" not in found and "dotted.name" not in found and "host" not in found["metadata"]
    assert json.loads(found["TelemetryEnvironment"]) == {"settings": {"a": 1}}
    assert found["Nested"] == {"a": {"c": 2}}
    assert json.loads(next((world.folder / "whole").glob("*/raw_crash/*")).read_text()) == crash.document


def test_redaction_reaches_into_lists_and_takes_nulls_away(world):
    addons = [{"id": 1, "url": "u"}, [{"url": "v"}], "text", {"inner": [{"url": None}]}]
    world.put(Nothing=None, Addons=addons, Packed=json.dumps([{"url": "w", "id": 2}]))
    redact = ["Nothing", "Addons.url", "Addons.inner.url", "Packed.url"]
    world.run(config.Antenna(fs_root=world.folder / "a", redact=redact))
    found = json.loads(next((world.folder / "a").glob("*/raw_crash/*")).read_text())
    assert "Nothing" not in found
    assert found["Addons"] == [{"id": 1}, [{}], "text", {"inner": [{}]}]
    assert json.loads(found["Packed"]) == [{"id": 2}]


# ---- what fails ----------------------------------------------------------------------------------------------------


def test_a_fallback_takes_what_the_first_does_not(world):
    crash = world.put()
    (world.folder / "file").write_text("no folder")
    outcome = world.run(
        config.Antenna(fs_root=world.folder / "file", fallback=config.Antenna(fs_root=world.folder / "second"))
    )
    assert outcome.sent == 1
    assert raw_crashes(world.folder / "second") == {crash.id}
    assert world.of(crash)["antenna"]["place"].startswith("fallback: ")


def test_when_neither_takes_it_it_is_tried_again(world):
    world.put()
    for name in ("one", "two"):
        (world.folder / name).write_text("no folder")
    settings = config.Antenna(fs_root=world.folder / "one", fallback=config.Antenna(fs_root=world.folder / "two"))
    assert world.run(settings).left == 1
    (world.folder / "two").unlink()
    assert world.run(settings).sent == 1


def test_a_destination_that_comes_back_gets_everything_without_anybody_doing_anything(world):
    for _ in range(5):
        world.put()
    (world.folder / "a").write_text("no folder")

    async def meanwhile():
        async with asyncio.timeout(60):
            while not any(world.of(crash).get("antenna", {}).get("attempts") for crash in world.crashes):
                await asyncio.sleep(0.01)
        (world.folder / "a").unlink()

    world.run_until(
        lambda: raw_crashes(world.folder / "a") == ids(world) and world.sent("antenna") == 5,
        config.Antenna(fs_root=world.folder / "a"),
        meanwhile=meanwhile,
        max_attempts=1000,
    )


def test_one_destination_in_trouble_does_not_hold_up_another(world):
    for _ in range(30):
        world.put()
    (world.folder / "a").write_text("no folder")
    outcome = world.run(
        config.Antenna(fs_root=world.folder / "a"), config.Antenna(name="b", fs_root=world.folder / "b")
    )
    assert raw_crashes(world.folder / "b") == ids(world)
    assert (outcome.sent, outcome.left) == (30, 30)


def test_a_clock_that_is_set_back_stalls_nothing(world):
    world.put()
    (world.folder / "a").write_text("in the way")
    destination = config.Antenna(fs_root=world.folder / "a")
    ahead = 10 * 86400

    def later():
        return time.time() + ahead

    assert world.run(destination, clock=later).left == 1
    (world.folder / "a").unlink()
    world.run_until(lambda: world.sent("antenna") == 1, destination)


def test_a_pause_does_not_grow_when_the_clock_is_set_back(world):
    world.put()
    (world.folder / "a").write_text("in the way")
    ahead = [10 * 86400]

    def failed_then_set_back():
        if any(row["attempts"] for row in world.of(world.crashes[0]).values()) and ahead[0]:
            ahead[0] = 0
            (world.folder / "a").unlink()
        return world.sent("antenna") == 1

    world.run_until(
        failed_then_set_back, config.Antenna(fs_root=world.folder / "a"), clock=lambda: time.time() + ahead[0]
    )


def test_after_many_tries_it_is_a_dead_letter_until_somebody_says_otherwise(world):
    crash = world.put()
    (world.folder / "a").write_text("no folder")
    settings = config.Antenna(fs_root=world.folder / "a")
    world.run_until(lambda: len(world.dead()) == 1, settings, max_attempts=3)
    (letter,) = world.dead()
    assert (letter.crash_id, letter.destination, letter.attempts) == (crash.id, "antenna", 3)
    assert "Not a directory" in letter.error or "File exists" in letter.error
    (world.folder / "a").unlink()
    assert world.run(settings).sent == 0
    with world.ledger() as ledger:
        assert ledger.again(["11111111-1111-4111-8111-111110261122"], time.time()) == 0
        assert ledger.again([crash.id], time.time()) == 1
    assert world.run(settings).sent == 1
    assert world.dead() == []


def test_a_ledger_of_an_earlier_release_goes_on(world):
    """Of seven crashes, antenna has all; http has one, wants one not, refused one, failed at one, has yet to get three."""
    numbered = [world.put(crash_id=f"{n}1111111-1111-4111-8111-11111{n}261122") for n in range(1, 8)]
    with contextlib.closing(sqlite3.connect(world.folder / "crashmover.db")) as database:
        database.executescript((CASES / "crashmover-of-an-earlier-release.sql").read_text())
    http = config.Antenna(name="http", fs_root=world.folder / "http")
    outcome = world.run(http, config.Nowhere(name="antenna"), max_attempts=5)
    assert (outcome.sent, outcome.dead, outcome.failed, outcome.left) == (4, 0, 1, 1), (
        "and one id is told to a closed port"
    )
    assert raw_crashes(world.folder / "http") == {crash.id for crash in numbered[3:]}
    states = [world.of(crash)["http"]["state"] for crash in numbered]
    assert states == ["done", "skipped", "dead", "done", "done", "done", "done"]
    assert world.of(numbered[3])["http"]["attempts"] == 3
    refused = "status 400: no", "no queue"
    assert sorted((letter.what, letter.error) for letter in world.dead()) == [
        ("publish", refused[1]),
        ("send", refused[0]),
    ]
    with world.ledger() as ledger:
        assert ledger.publishes.due(time.time() + 1e6, 9)[0][3] == 2, "it failed once more"
        assert ledger.again([numbered[2].id], time.time()) == 2
    assert world.run(http, config.Nowhere(name="antenna"), max_attempts=5).sent == 1
    assert numbered[2].id in raw_crashes(world.folder / "http")


def test_another_file_of_that_name_is_not_overwritten(world):
    crash = world.put()
    path = world.folder / "a/20261122/upload_file_minidump" / crash.id
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody else's")
    assert world.run(config.Antenna(fs_root=world.folder / "a")).dead == 1
    assert path.read_bytes() == b"somebody else's"
    assert raw_crashes(world.folder / "a") == set()


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_what_was_planted_in_a_files_place_is_neither_followed_nor_replaced(world, what):
    crash = world.put()
    path = world.folder / "a/20261122/raw_crash" / f"{crash.id}.json"
    path.parent.mkdir(parents=True)
    victim = world.folder / "victim"
    {"link": lambda: path.symlink_to(victim), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[what]()
    assert world.run(config.Antenna(fs_root=world.folder / "a")).dead == 1
    assert not victim.exists()


# ---- what cannot be read -------------------------------------------------------------------------------------------


def damage(data: bytes, at: bytes) -> bytes:
    position = data.index(at)
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


BROKEN = {
    "no zip": lambda _crash, _data: b"not a zip",
    "empty": lambda _crash, _data: b"",
    "cut short": lambda _crash, data: data[: len(data) // 2],
    "a flipped bit in a dump": lambda crash, data: damage(data, crash.id.encode()),
    "another crash's": lambda crash, data: data.replace(crash.id.encode(), str(uuid.uuid4()).encode()),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_crash_that_cannot_be_read_is_never_sent_never_removed_and_named(world, how):
    good, bad = world.put(), world.put()
    data = BROKEN[how](bad, bad.path.read_bytes())
    bad.path.write_bytes(data)
    folders = [world.folder / name for name in ("a", "s", "t")]
    outcome = world.run(
        config.Antenna(fs_root=folders[0]), config.Socorro(fs_root=folders[1]), config.Tar(folder=folders[2])
    )
    assert (outcome.sent, outcome.dead) == (3, 3)
    assert {letter.crash_id for letter in world.dead()} == {bad.id}
    assert all("unreadable" in letter.error for letter in world.dead())
    assert bad.path.read_bytes() == data and good.path.exists()
    for folder in folders:
        for path in folder.rglob("*"):
            assert bad.id not in path.name
            assert not path.is_file() or bad.id.encode() not in path.read_bytes()


def test_a_dump_that_is_missing_makes_a_crash_unreadable(world):
    world.put(metadata={"dump_checksums": {"upload_file_minidump": "0" * 64, "gone": "0" * 64}})
    assert world.run(config.Nowhere()).dead == 1


@pytest.mark.parametrize("name", ["../../evil", "raw_crash", "a/b", ".hidden", "a b"])
def test_names_of_dumps_that_could_do_harm_are_not_used(world, name):
    world.put(dumps={name: b"x"})
    outcome = world.run(config.Antenna(fs_root=world.folder / "a"))
    assert outcome.dead == 1
    assert not (world.folder / "a").exists()


def test_what_somebody_put_into_the_archives_folder_is_left_alone(world):
    crash = world.put()
    for name in ("notes.txt", "11111111.zip", f"{crash.id[:-6]}261121.zip"):
        (crash.path.parent / name).write_text("x")
    (world.archive / "crashes/lost+found").mkdir()
    assert world.run(config.Nowhere()).sent == 1
    assert world.dead() == []


def test_one_that_retention_removed_is_tried_again_and_then_named(world):
    crash = world.put()
    world.run(config.Nowhere(products=["none"]))
    with world.ledger() as ledger:
        ledger.notice([(CrashId(crash.id), "antenna")], time.time())
    crash.path.unlink()
    world.run_until(lambda: len(world.dead()) == 1, config.Antenna(fs_root=world.folder / "a"), max_attempts=2)
    assert "in no archive root" in world.dead()[0].error


def test_nothing_is_kept_account_of_whose_day_is_gone(world):
    old, new = world.put(day="240101"), world.put()
    world.run(config.Nowhere())
    shutil.rmtree(old.path.parent)
    world.run(config.Nowhere())
    assert world.of(old) == {} and world.of(new) != {}


# ---- pieces --------------------------------------------------------------------------------------------------------


def test_waits_double_are_spread_and_have_an_end():
    settings = config.Settings(retry_delay=2.0, max_retry_delay=100.0)
    assert [delay(settings, failures, 1.0) for failures in (1, 2, 3, 4, 9, 1000)] == [2, 4, 8, 16, 100, 100]
    assert delay(settings, 3, 0.0) == 4
    assert delay(settings, 1, 0.0, wait=30) == 30


def test_a_rate_is_kept(world):
    for _ in range(60):
        world.put()
    begun = time.monotonic()
    assert world.run(config.Nowhere(), rate=40).sent == 60
    assert time.monotonic() - begun >= 0.45, "all but a second's worth at the start have to wait for their turn"

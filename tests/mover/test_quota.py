"""Reports of a product go when the product's time is over; the oldest go when all take too much room; nothing else goes."""

from datetime import datetime
from types import SimpleNamespace

import msgspec
import pytest
import spine

from lae_monitor.core.kind import Classes
from lae_monitor.core.names import CrashId
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes import read as reader
from lae_monitor.kinds.crashes.container import Writer
from lae_monitor.kinds.crashes.program import Program
from lae_monitor.kinds.crashes.report import RAW_CRASH, Report
from lae_monitor.kinds.crashes.socorro.super_search import super_search
from lae_monitor.mover.ages import Rules, rules_of
from lae_monitor.mover.retention import STOPPED, Retention, stopped
from lae_monitor.query.groups import Asking, groups
from lae_monitor.query.planner import Plan

NOW = 1795305600.0  # 2026-11-22
DAY = 86400.0
_ABOUT = {"cluster": "lae", "host": "node1", "throttle_rule": "accept_everything"}


def crash(number, day: str, product: str, name: str = "ProductName", size: int = 10, more=()) -> tuple[str, bytes]:
    """Path and bytes of a stored report; `more` annotations."""
    crash_id = CrashId(f"0bba929f-8721-460c-8e70-{number:05x}0{day[2:]}")
    report = Report()
    for one, value in {name: product, **dict(more)}.items():
        report.set(one, value)
    out = bytearray()
    zipped = Writer(out.extend, NOW)
    zipped.add("upload_file_minidump", bytes(size))
    zipped.add(RAW_CRASH, report.raw_crash(crash_id, NOW, dict(_ABOUT)))
    zipped.finish()
    return f"crashes/{day}/{crash_id}.zip", bytes(out)


async def kept(mover) -> set[str]:
    """The days of the reports that are in archive and store; they must agree."""
    rows = await mover.store.query("SELECT DISTINCT file FROM {lae}.events WHERE kind = 'crash'")
    in_store = {row["file"] for row in rows}
    in_archive = set()
    for day in await mover.archive.entries("crashes"):
        in_archive |= {
            f"crashes/{day.name}/{entry.name}" for entry in await mover.archive.entries(f"crashes/{day.name}")
        }
    assert in_store == in_archive
    return {path.split("/")[1] + path[-18:-11] for path in in_archive}


async def stored(mover, *crashes):
    """Each came on the day that its path names; the newest receipt is of NOW."""
    for path, data in crashes:
        await spine.receive(mover, path, data, datetime.strptime(path[8:16] + "+0000", "%Y%m%d%z").timestamp())
    await spine.receive(mover, "journal/2026/11/22/x.jsonl", b"", NOW)
    await mover.catch_up()


def crashes_kept(days=365, **classes) -> Rules:
    """`keep` by product, `room` for all."""
    return Rules(keep={"crashes": days * DAY}, classes={"crashes": Classes(**classes, key="product_retention")})


async def retire(mover, days=365, **classes) -> int:
    rules = crashes_kept(days, **classes)
    return (await Retention(mover, rules, lambda: NOW).run(confirmed=True))[0]


def days(paths: set[str]) -> list[str]:
    return sorted(name[:8] for name in paths)


def test_a_product_has_its_own_time(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await stored(
                mover,
                crash(1, "20261101", "Nightly"),
                crash(2, "20261120", "Nightly"),
                crash(3, "20261102", "nightly", name="prod"),
                crash(4, "20261103", "Nightly", name="prod"),
                crash(5, "20261104", "Release"),
                crash(6, "20261105", " Nightly ", name="_productName"),
            )
            gone = await retire(mover, keep={"Nightly": 7 * DAY, "Unheard": DAY})
            return gone, days(await kept(mover))

    assert spine.run(go()) == (3, ["20261102", "20261104", "20261120"])


class Older:
    """A reader that kept the program in no attributes of their own, as that of version 2."""

    VERSION, WHOLE, cut = 2, True, staticmethod(reader.cut)

    @staticmethod
    def read(span, data):
        for event in reader.read(span, data):
            attrs = {name: value for name, value in event.attrs.items() if name not in Program._fields}
            yield msgspec.structs.replace(event, attrs=attrs)


@pytest.mark.parametrize("read_by", [reader, Older])
def test_retention_groups_and_search_go_by_the_product_that_is_shown(tmp_path, read_by):
    """Whatever the client calls it, and however it writes it; and in rows of an older release."""
    same = ["My Editor", "My\tEditor", " My  Editor ", "My\u200b Editor"]
    others = ["my editor", "My Editor | x", "My Editor x"]

    async def go():
        async with spine.opened(
            tmp_path, find_reader=lambda path: read_by if path.startswith("crashes/") else None
        ) as mover:
            names = [*((text, "ProductName") for text in same + others), ("My Editor", "application")]
            crashes = [crash(n, "20261101", *named) for n, named in enumerate(names)]
            electron = crash(20, "20261101", "My Editor", "_productName", more={"prod": "Electron", "ver": "28"})
            await stored(mover, *crashes, electron)
            counted = await groups(mover.store, Plan(), Asking(product="My \tEditor", limit=10), NOW)
            found = await super_search(
                mover.store, [("product", "=My Editor"), ("_facets", "version"), ("date", ">2026-01-01")], NOW
            )
            gone = await retire(mover, keep={"My  Editor": DAY, "My\tEditor": 2 * DAY})
            rest = await mover.store.query("SELECT DISTINCT file FROM {lae}.events WHERE kind = 'crash'")
            return counted, found, gone, len(rest)

    counted, found, gone, rest = spine.run(go())
    assert [group.events for group in counted.groups] == [len(same) + 2]
    assert found.total == gone == len(same) + 2
    assert rest == len(others)
    assert read_by is Older or found.facets["version"] == []  # 28 is the version of Electron


def test_products_of_the_configuration_are_in_the_form_in_which_they_are_shown():
    kept = {"My  Editor": 7 * DAY, "My\tEditor": 30 * DAY, "Release": DAY}
    crashes = SimpleNamespace(product_retention=kept, max_kept=1)
    retention = SimpleNamespace(crashes=1, incidents=1, sonar=1, max_share=0.05)
    rules = rules_of(SimpleNamespace(gatherers={"crashes": crashes}, retention=retention, kinds=KINDS))
    assert rules.of("crashes").keep == {"My Editor": 30 * DAY, "Release": DAY}


def test_a_product_that_is_kept_longer_is_spared(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await stored(mover, *(crash(n, f"2026110{n}", "Release" if n % 2 else "Nightly") for n in range(1, 7)))
            gone = await retire(mover, 7, keep={"Release": 20 * DAY})
            return gone, days(await kept(mover))

    assert spine.run(go()) == (4, ["20261103", "20261105"])


def test_what_the_store_lost_the_row_of_is_kept_as_long_as_any_product(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await stored(mover, *(crash(n, f"2026110{n}", "Release") for n in range(1, 5)))
            rules = crashes_kept(7, keep={"Release": 20 * DAY})
            await Retention(mover, rules, lambda: NOW).run(confirmed=True)
            await mover.store.driver.command("ALTER TABLE lae.events DELETE WHERE 1 SETTINGS mutations_sync = 2")
            return (await Retention(mover, rules, lambda: NOW).run())[0]

    assert spine.run(go()) == 0


def test_the_oldest_go_when_all_take_too_much_room(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            reports = [crash(n, f"202611{10 + n}", "P", size=10_000) for n in range(6)]
            await stored(mover, *reports[::-1])
            size = len(reports[0][1])
            none = await retire(mover, room=6 * size)
            gone = await retire(mover, room=3 * size + 1)
            return none, gone, days(await kept(mover))

    assert spine.run(go()) == (0, 3, ["20261113", "20261114", "20261115"])


def test_what_was_not_moved_yet_stays(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            path, data = crash(1, "20261101", "P", size=10_000)
            await mover.archive.store(path, [data])
            return await retire(mover, room=1), [e.name for e in await mover.archive.entries("crashes")]

    assert spine.run(go()) == (0, ["20261101"])


def test_less_room_or_time_than_before_waits_for_a_confirmation(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await stored(mover, *(crash(n, f"2026111{n}", "Nightly", size=10_000) for n in range(6)))
            why = []
            for rules in ({}, {"room": 30_000}, {"keep": {"Nightly": 7 * DAY}}, {"room": 45_000}, {}):
                retention = Retention(mover, crashes_kept(**rules), lambda: NOW)
                assert (await retention.run())[0] == 0
                found = stopped(mover.ledger.fact(STOPPED))
                why.append(found.why if found else "")
            return why, len(await kept(mover))

    why, left = spine.run(go())
    assert (left, why[0], why[4]) == (6, "", "")
    assert "max_kept of crashes from" in why[1]
    assert "4 of 6 files" in why[1]
    assert "product_retention of Nightly from 365d to 7d" in why[2]
    assert "max_kept of crashes from" in why[3]


def test_room_is_made_while_retention_by_age_has_stopped(tmp_path):
    async def go():
        async with spine.without_store(tmp_path) as mover:
            for number in range(10):
                await spine.receive(mover, f"crashes/2026110{number}/x.zip", bytes(10), NOW + number)
            await Retention(mover, crashes_kept(room=100), lambda: NOW + 10).run()
            await spine.receive(mover, "crashes/20281111/x.zip", bytes(10), NOW + 700 * DAY)
            gone, plan = await Retention(mover, crashes_kept(room=100), lambda: NOW + 700 * DAY).run()
            return gone, plan.why != "", [e.name for e in await mover.archive.entries("crashes")][:2]

    assert spine.run(go()) == (1, True, ["20261100", "20261101"])

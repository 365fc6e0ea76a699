"""Reports of a product go when the product's time is over; the oldest go when all take too much room; nothing else goes."""

import spine

from lae_monitor.core.names import CrashId
from lae_monitor.gatherers.crashes.container import Writer
from lae_monitor.gatherers.crashes.report import RAW_CRASH, Report
from lae_monitor.mover.quota import retire_beyond, retire_products, younger_than
from lae_monitor.mover.retention import retire

NOW = 1795305600.0  # 2026-11-22
DAY = 86400.0
_ABOUT = {"cluster": "lae", "host": "node1", "throttle_rule": "accept_everything"}


def crash(number: int, day: str, product: str, name: str = "ProductName", size: int = 10) -> tuple[str, bytes]:
    """Path and bytes of a stored report."""
    crash_id = CrashId(f"0bba929f-8721-460c-8e70-{number:05x}0{day[2:]}")
    report = Report()
    report.set(name, product)
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
    for path, data in crashes:
        await mover.archive.store(path, [data])
    await mover.catch_up()


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
            gone = await retire_products(mover, {"Nightly": 7 * DAY, "Unheard": DAY}, NOW)
            return gone, days(await kept(mover))

    assert spine.run(go()) == (3, ["20261102", "20261104", "20261120"])


def test_a_product_that_is_kept_longer_is_spared(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await stored(mover, *(crash(n, f"2026110{n}", "Release" if n % 2 else "Nightly") for n in range(1, 7)))
            spared = await younger_than(mover, {"Release": 20 * DAY}, NOW)
            gone = await retire(mover, {"crashes": 7 * DAY}, NOW, spared=spared)
            return gone, days(await kept(mover))

    assert spine.run(go()) == (4, ["20261103", "20261105"])


def test_the_oldest_go_when_all_take_too_much_room(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            reports = [crash(n, f"202611{10 + n}", "P", size=10_000) for n in range(6)]
            await stored(mover, *reports[::-1])
            size = len(reports[0][1])
            none = await retire_beyond(mover, "crashes", 6 * size)
            gone = await retire_beyond(mover, "crashes", 3 * size + 1)
            return none, gone, days(await kept(mover))

    assert spine.run(go()) == (0, 3, ["20261113", "20261114", "20261115"])


def test_what_was_not_moved_yet_stays(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            path, data = crash(1, "20261101", "P", size=10_000)
            await mover.archive.store(path, [data])
            return await retire_beyond(mover, "crashes", 1), [e.name for e in await mover.archive.entries("crashes")]

    assert spine.run(go()) == (0, ["20261101"])

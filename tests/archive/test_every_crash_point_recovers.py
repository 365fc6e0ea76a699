"""The power may go before any call that the archive makes; what was acknowledged is there when it comes back."""

import asyncio
import itertools
import random

import pytest
from archive_oracle import NO_RESERVE, NOW, Oracle, empty_home, fill_home, work
from model_kernel import Disk, ModelKernel, Power, PowerCut

from lae_monitor.archive import Archive, ArchiveError, Exists
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.core.rows import Span


def archive_on(disks: dict[str, Disk], process: str = "p", **options) -> Archive:
    options.setdefault("threads", 1)  # so that the n-th call is the same one each time
    return Archive(
        list(disks),
        process,
        kernel=lambda name: ModelKernel(disks[name]),
        reserve=NO_RESERVE,
        clock=lambda: NOW,
        **options,
    )


def machine(*names: str, power: Power | None = None) -> dict[str, Disk]:
    power = power or Power()
    return {name: Disk(power) for name in names}


async def run_until_dark(disks: dict[str, Disk], oracle: Oracle, scenario, **options) -> None:
    archive = archive_on(disks, **options)
    try:
        await archive.open()
        await scenario(archive, oracle)
    except (PowerCut, ArchiveError, FileNotFoundError):
        assert next(iter(disks.values())).power.off
    finally:
        await archive.close()


async def recover(disks: dict[str, Disk], oracle: Oracle, seed: int) -> None:
    """Starts on what is left, three times, the first two of which fail too; checks the promises."""
    chance = random.Random(seed)
    for _ in range(chance.choice((0, 0, 1, 2))):
        power = Power(cut_before=chance.randint(1, 60))
        disks = {name: disk.survivor(chance.randrange(2**32), power) for name, disk in disks.items()}
        await run_until_dark(
            disks, oracle, lambda archive, oracle: oracle.append(archive, "sonar/c/2026/11/22/h.csv", 50)
        )
    disks = {name: disk.survivor(chance.randrange(2**32)) for name, disk in disks.items()}
    found = [disk.contents() for disk in disks.values()]
    oracle.check(*found)
    archive = await archive_on(disks).open()
    try:
        assert [root.health for root in archive.roots] == ["ok"] * len(disks)
        await oracle.check_growing(archive, *found)
        assert await oracle.store(archive, "crashes/20261123/afterwards.zip", 100)
        await bring_home(archive, lambda: NOW)
    finally:
        await archive.close()
    home, *away = [disk.contents() for disk in disks.values()]
    oracle.check(home)
    oracle.check_moved(home)
    assert not any(away), "not everything came home"
    left = [
        path for disk in disks.values() for path, _ in disk.walk() if path.startswith(".tmp/") and "lock" not in path
    ]
    assert left == [], "what was half done is still there"


async def cut_everywhere(scenario, names=("/home",), *, seeds: int, prepare=None, step: int = 1) -> int:
    """Runs `scenario` with the power going before call 1, 2, 3, ... until it gets through; returns how many calls it makes."""
    for cut in itertools.count(1, step):
        oracle = Oracle()
        disks = machine(*names)
        if prepare is not None:
            await prepare(disks, oracle)
        power = next(iter(disks.values())).power
        power.cut_before = power.calls + cut
        before = power.calls
        await run_until_dark(disks, oracle, scenario)
        for seed in range(seeds):
            kept = Oracle(first=10**6)
            kept.remember(oracle)
            try:
                await recover(disks, kept, seed)
            except BaseException:
                print(f"power cut before call {cut}, seed {seed}")
                raise
        if not power.off:
            return power.calls - before
    raise AssertionError


def test_every_crash_point_recovers():
    calls = asyncio.run(cut_everywhere(work, seeds=2))
    print(calls, "crash points")
    assert calls > 100, "the scenario does not do what it says"


def test_crashes_among_many_threads_recover():
    """As on a real machine, where no two runs make their calls in the same order."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)

    async def scenario(archive, oracle):
        await asyncio.gather(
            *(oracle.store(archive, f"crashes/2026112{n % 3}/{n}.zip", chance.randrange(9000)) for n in range(12)),
            *(oracle.upload(archive, f"incidents/c/incidents/h{n % 3}/{n}.flog.bz2", 5000) for n in range(4)),
            *(oracle.append(archive, f"sonar/c/2026/11/22/h{n % 3}.csv", chance.randrange(9, 3000)) for n in range(30)),
        )

    async def main():
        for _ in range(60):
            oracle = Oracle()
            disks = machine("/home", power=Power(cut_before=chance.randint(1, 350)))
            await run_until_dark(disks, oracle, scenario, threads=8)
            await recover(disks, oracle, chance.randrange(2**32))

    asyncio.run(main())


def test_every_crash_point_recovers_when_home_fails_half_way():
    """The same with a fallback root that takes over."""

    async def scenario(archive, oracle):
        await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)
        await fill_home(archive)
        await oracle.store(archive, "crashes/20261122/a.zip", 5000)
        await asyncio.gather(*(oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300) for _ in range(3)))
        await oracle.journal(archive, "away")
        await empty_home(archive)
        await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)

    assert asyncio.run(cut_everywhere(scenario, ("/home", "/away"), seeds=2)) > 80, (
        "the scenario does not do what it says"
    )


def test_every_crash_point_of_the_way_home_recovers():
    """Files come home once, whole, and are never without a copy."""

    async def leave_files_away(disks, oracle):
        archive = await archive_on(disks, "gather").open()
        await oracle.store(archive, "crashes/20261122/both.zip", 400)
        await fill_home(archive)
        await oracle.store(archive, "crashes/20261122/a.zip", 5000)
        await oracle.store(archive, "crashes/20261122/both.zip", 700)  # another content under the same name
        oracle.moving.append(oracle.acknowledged.pop()[1])
        await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)
        await oracle.journal(archive, "away")
        await archive.close()

    async def scenario(archive, oracle):
        await bring_home(archive, lambda: NOW)

    calls = asyncio.run(cut_everywhere(scenario, ("/home", "/away"), seeds=2, prepare=leave_files_away))
    assert calls > 80, "the scenario does not do what it says"


def leave_unsynced_name(disk: Disk, path: str, data: bytes) -> None:
    """What a process leaves that is killed just before its last fsync: a whole file whose name is not durable."""
    kernel = ModelKernel(disk)
    parts = path.split("/")
    for depth in range(1, len(parts)):
        kernel.make_folder("/".join(parts[:depth]))
    fd = kernel.create(path)
    kernel.writev(fd, [data])
    kernel.fsync(fd)
    kernel.close(fd)


def test_a_name_that_an_earlier_run_did_not_sync_is_durable_before_anybody_is_told_that_it_is_there():
    """The second sender hears `Exists`, and will not send again."""

    async def leave(disks, oracle):
        data = oracle.payload(3000)
        oracle.sent["crashes/20261122/a.zip"].append(data)
        leave_unsynced_name(disks["/home"], "crashes/20261122/a.zip", data)

    async def send_again(archive, oracle):
        [data] = oracle.sent["crashes/20261122/a.zip"]
        with pytest.raises(Exists):
            await archive.store("crashes/20261122/a.zip", [data])
        oracle.acknowledged.append((Span("crashes/20261122/a.zip", 0, 3000), data))

    asyncio.run(cut_everywhere(send_again, seeds=2, prepare=leave))


def test_what_the_mover_has_settled_is_durable_with_its_name():
    async def leave(disks, oracle):
        leave_unsynced_name(disks["/home"], "crashes/20261122/a.zip", oracle.payload(3000))

    async def settle(archive, oracle):
        size = await archive.settle("crashes/20261122/a.zip")
        data = await archive.read(Span("crashes/20261122/a.zip", 0, size))
        oracle.acknowledged.append((Span("crashes/20261122/a.zip", 0, size), data))

    asyncio.run(cut_everywhere(settle, seeds=2, prepare=leave))


def test_a_copy_at_home_is_durable_before_the_one_on_the_fallback_root_goes():
    async def leave(disks, oracle):
        archive = await archive_on(disks, "gather").open()
        await fill_home(archive)
        await oracle.store(archive, "crashes/20261122/a.zip", 3000)
        await archive.close()
        leave_unsynced_name(disks["/home"], "crashes/20261122/a.zip", oracle.acknowledged[0][1])

    async def scenario(archive, oracle):
        await bring_home(archive, lambda: NOW)

    asyncio.run(cut_everywhere(scenario, ("/home", "/away"), seeds=2, prepare=leave))

"""The power may go before any call that the archive makes; what was acknowledged is there when it comes back."""

import asyncio
import itertools
import random

import pytest
from archive_oracle import NO_RESERVE, NOW, Oracle, work
from model_kernel import Disk, ModelKernel, Power, PowerCut

from lae_monitor.archive import Archive
from lae_monitor.archive.homecoming import bring_home


def archive_on(disks: dict[str, Disk], process: str = "p", **options) -> Archive:
    options.setdefault("threads", 1)  # so that the n-th call is the same one each time
    return Archive(
        list(disks), process, kernel=lambda name: ModelKernel(disks[name]), reserve=NO_RESERVE, clock=lambda: NOW, **options
    )


def machine(*names: str, power: Power | None = None) -> dict[str, Disk]:
    power = power or Power()
    return {name: Disk(power) for name in names}


async def run_until_dark(disks: dict[str, Disk], oracle: Oracle, scenario, **options) -> None:
    archive = archive_on(disks, **options)
    try:
        await archive.open()
        await scenario(archive, oracle)
    except PowerCut:
        pass
    finally:
        await archive.close()


async def recover(disks: dict[str, Disk], oracle: Oracle, seed: int) -> None:
    """Starts on what is left, three times, the first two of which fail too; checks the promises."""
    chance = random.Random(seed)
    for _ in range(chance.choice((0, 0, 1, 2))):
        power = Power(cut_before=chance.randint(1, 60))
        disks = {name: disk.survivor(chance.randrange(2**32), power) for name, disk in disks.items()}
        await run_until_dark(disks, oracle, lambda archive, oracle: oracle.append(archive, "sonar/c/2026/11/22/h.csv", 50))
    power = Power()
    disks = {name: disk.survivor(chance.randrange(2**32), power) for name, disk in disks.items()}
    archive = await archive_on(disks).open()
    try:
        assert [root.health for root in archive.roots] == ["ok"] * len(disks)
        await oracle.check(archive)
        await oracle.check_growing(archive)
        await oracle.check(archive)
        assert await oracle.store(archive, "crashes/20261123/afterwards.zip", 100)
        await bring_home(archive, lambda: NOW)
        await oracle.check(archive)
        await oracle.check_moved(archive)
        away = [path for disk in list(disks.values())[1:] for path, _ in disk.walk() if not path.startswith(".tmp/")]
        assert away == [], "not everything came home"
        left = [path for disk in disks.values() for path, _ in disk.walk() if path.startswith(".tmp/") and "lock" not in path]
        assert left == [], "what was half done is still there"
    finally:
        await archive.close()


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
    calls = asyncio.run(cut_everywhere(work, seeds=3))
    print(calls, "crash points")
    assert calls > 100


def test_every_crash_point_recovers_when_home_fails_half_way():
    """The same with a fallback root that takes over."""

    async def scenario(archive, oracle):
        await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)
        archive.roots[0]._set("full", "for the test")
        await oracle.store(archive, "crashes/20261122/a.zip", 5000)
        await asyncio.gather(*(oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300) for _ in range(3)))
        await oracle.journal(archive, "away")
        await archive.roots[0].probe()
        await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)

    assert asyncio.run(cut_everywhere(scenario, ("/home", "/away"), seeds=3)) > 80


def test_every_crash_point_of_the_way_home_recovers():
    """Files come home once, whole, and are never without a copy."""

    async def leave_files_away(disks, oracle):
        archive = await archive_on(disks, "gather").open()
        await oracle.store(archive, "crashes/20261122/both.zip", 400)
        archive.roots[0]._set("full", "for the test")
        await oracle.store(archive, "crashes/20261122/a.zip", 5000)
        await oracle.store(archive, "crashes/20261122/both.zip", 700)  # another content under the same name
        oracle.moving.append(oracle.acknowledged.pop()[1])
        await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)
        await oracle.journal(archive, "away")
        await archive.close()

    async def scenario(archive, oracle):
        await bring_home(archive, lambda: NOW)

    calls = asyncio.run(cut_everywhere(scenario, ("/home", "/away"), seeds=2, prepare=leave_files_away))
    assert calls > 100

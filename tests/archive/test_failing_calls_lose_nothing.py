"""Any one call to the operating system may fail, in any of the ways that are known; nothing acknowledged is lost by it.

EINTR reaches the archive as little as any other error that Python retries by itself; should it, it is a failure like others.
"""

import asyncio
import itertools
import random

import pytest
from archive_oracle import NO_RESERVE, NOW, Oracle, on_disk, work
from faulty_kernel import FAULTS, FaultyKernel
from model_kernel import Disk, ModelKernel

from lae_monitor.archive import Archive
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.archive.kernel import Kernel


class Bench:
    """Roots of which the first one has a fault."""

    def __init__(self, fault: str, nth: int, names):
        self.disks = {name: Disk() for name in names}
        self.kernels = {name: ModelKernel(disk) for name, disk in self.disks.items()}
        self.faulty = FaultyKernel(self.kernels[names[0]], FAULTS[fault], nth)

    def kernel(self, name):
        return self.faulty if name == next(iter(self.disks)) else self.kernels[name]

    def archive(self, kernel=None) -> Archive:
        return Archive(
            list(self.disks), "p", kernel=kernel or self.kernel, reserve=NO_RESERVE, clock=lambda: NOW, threads=1
        )

    async def run(self, oracle: Oracle) -> None:
        """`work` with the fault in it, and more work after the root had the time to recover."""
        archive = self.archive()
        try:
            await archive.open()
            await work(archive, oracle)
            await until_ok(archive)
            # The fault may strike now; then the second attempt succeeds.
            assert await oracle.store(archive, "crashes/20261122/d.zip", 300) or await later(
                archive, oracle.store(archive, "crashes/20261122/e.zip", 300)
            )
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300) or await later(
                archive, oracle.append(archive, "sonar/c/2026/11/22/h.csv", 300)
            )
        finally:
            await archive.close()
        await quiet(archive)
        for disk in self.disks.values():
            torn = [
                path
                for path, data in disk.contents().items()
                if "zip" not in path and "bz2" not in path and data[-1:] not in b"\n"
            ]
            assert not torn, "a torn line stays"
        for name, kernel in self.kernels.items():
            assert kernel.open_descriptors() == 0, f"descriptors of {name} are left open"

    async def check_after_power_cut(self, oracle: Oracle, seed: int) -> None:
        chance = random.Random(seed)
        disks = {name: disk.survivor(chance.randrange(2**32)) for name, disk in self.disks.items()}
        found = [disk.contents() for disk in disks.values()]
        oracle.check(*found)
        archive = await self.archive(lambda name: ModelKernel(disks[name])).open()
        await oracle.check_growing(archive, *found)
        await bring_home(archive, lambda: NOW)
        await archive.close()
        home, *away = [disk.contents() for disk in disks.values()]
        oracle.expect_numbers()
        oracle.check(home)
        oracle.check_moved(home)
        assert not any(away), "not everything came home"


async def until_ok(archive: Archive) -> None:
    """One probe is enough, or two if the first one meets the fault."""
    for root in archive.roots:
        for _ in range(2):
            if root.health != "ok":
                await root.probe()
        assert root.health == "ok", "it did not recover"


async def later(archive: Archive, attempt) -> bool:
    await until_ok(archive)
    return await attempt


async def quiet(archive: Archive) -> None:
    """Waits for the workers' threads to end."""
    for root in archive.roots:
        for workers in (root._workers, root._probe_workers):
            for thread in workers._threads:
                await asyncio.to_thread(thread.join, 30)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("names", [("/home",), ("/home", "/away")], ids=["one root", "with a fallback"])
def test_any_call_may_fail(fault, names):
    async def main():
        for nth in itertools.count(1):
            oracle = Oracle()
            bench = Bench(fault, nth, names)
            try:
                await bench.run(oracle)
                oracle.check(*(disk.contents() for disk in bench.disks.values()))
                if len(names) == 2 or fault == "short write":
                    assert set(oracle.refused) <= {"crashes/20261122/a.zip"}, "refused, although a root works"
                await bench.check_after_power_cut(oracle, nth)
            except BaseException:
                print(f"call {nth} went wrong: {bench.faulty.struck}")
                raise
            if not bench.faulty.struck:
                assert len(oracle.acknowledged) >= 14, "not even without a fault"
                return nth

    assert asyncio.run(main()) > 5


@pytest.mark.parametrize("fault", ["EIO after the effect", "short write, then ENOSPC"])
def test_any_call_may_fail_on_a_real_disk(fault, tmp_path):
    """The same as far as it can be seen without cutting the power."""

    async def main():
        for nth in itertools.count(1, 7):
            oracle = Oracle()
            names = [str(tmp_path / str(nth) / "home"), str(tmp_path / str(nth) / "away")]
            kernel = FaultyKernel(Kernel(names[0]), FAULTS[fault], nth)
            archive = Archive(
                names,
                "p",
                kernel=lambda name, kernel=kernel, home=names[0]: kernel if name == home else Kernel(name),
                reserve=NO_RESERVE,
                clock=lambda: NOW,
            )
            await archive.open()
            await work(archive, oracle)
            await archive.close()
            oracle.check(*(on_disk(tmp_path / str(nth) / name) for name in ("home", "away")))
            assert set(oracle.refused) <= {"crashes/20261122/a.zip"}, kernel.struck
            if not kernel.struck:
                return nth

    assert asyncio.run(main()) > 5

"""One path's trouble, one process's or one root's, is not everybody's: the root's health says something about the root only."""

import asyncio
import errno
import os
import threading

import pytest
from archive_oracle import NOW, Oracle, on_disk
from faulty_kernel import FaultyKernel, fail
from model_kernel import Disk, ModelKernel

from lae_monitor.archive import Archive, Failed, Full, Reserve
from lae_monitor.archive.kernel import Kernel, Space
from lae_monitor.core.rows import Span

NOT_ITS_FAULT = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def health(archive):
    return [root["health"] for root in archive.health()]


def test_a_file_where_a_folder_should_be(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened("home") as archive:
            await archive.store("crashes/20261122", [b"a file"])
            for attempt in (
                archive.store("crashes/20261122/x.zip", [b"x"]),
                archive.append("crashes/20261122/h.csv", b"x\n"),
                archive.replace("crashes/20261122/latest", b"x\n"),
            ):
                with pytest.raises(Failed, match="Not a directory"):
                    await attempt
            for reading in (
                archive.settle("crashes/20261122/x.zip"),
                archive.read(Span("crashes/20261122/x.zip", 0, 1)),
            ):
                with pytest.raises(FileNotFoundError):
                    await reading
            assert await archive.entries("crashes/20261122") == []
            assert health(archive) == ["ok"]
            assert await oracle.store(archive, "crashes/20261123/x.zip", 10)
        async with opened("home", "away") as archive:
            assert await oracle.store(archive, "crashes/20261122/x.zip", 10), "the other root could have taken it"
            assert await oracle.append(archive, "crashes/20261122/h.csv", 10)
            assert health(archive) == ["ok", "ok"]
        oracle.check(on_disk(tmp_path / "home"), on_disk(tmp_path / "away"))

    asyncio.run(main())


@pytest.mark.parametrize("code", NOT_ITS_FAULT, ids=errno.errorcode.get)
def test_what_is_not_the_roots_fault_does_not_stop_others(code):
    async def main():
        kernel = FaultyKernel(ModelKernel(Disk()), fail(code, "rename", "open_append", "open_read"), 10**9)
        archive = await Archive(["/home"], "p", kernel=lambda _: kernel, reserve=Reserve(size=0)).open()
        for attempt in (
            lambda: archive.store("crashes/20261122/x.zip", [b"x"]),
            lambda: archive.append("sonar/c/h.csv", b"x\n"),
        ):
            kernel._left = 1
            try:
                await attempt()
            except Failed as refused:
                assert os.strerror(code) in refused.detail
            assert health(archive) == ["ok"]
            assert await archive.store(f"crashes/20261122/{attempt.__hash__()}.zip", [b"x"])
        await archive.close()

    asyncio.run(main())


def test_a_file_that_cannot_be_read_says_nothing_about_writing(tmp_path, opened):
    async def main():
        kernel = FaultyKernel(ModelKernel(Disk()), fail(errno.EIO, "pread"), 10**9)
        archive = await Archive(["/home"], "p", kernel=lambda _: kernel, reserve=Reserve(size=0)).open()
        span = await archive.store("crashes/20261122/x.zip", [b"x"])
        kernel._left = 1
        with pytest.raises(FileNotFoundError, match="Input/output error"):
            await archive.read(span)
        assert health(archive) == ["ok"]
        assert await archive.read(span) == b"x"
        await archive.close()

    asyncio.run(main())


def test_a_report_that_is_too_large_is_refused_and_small_ones_are_not():
    async def main():
        archive = await Archive(
            ["/home"], "p", kernel=lambda _: ModelKernel(Disk(size=10 << 20)), reserve=Reserve(size=4 << 20)
        ).open()
        with pytest.raises(Full, match=r"20\.0 MiB wanted"):
            await archive.store("crashes/20261122/huge.zip", [bytes(20 << 20)])
        assert health(archive) == ["ok"]
        await archive.store("crashes/20261122/small.zip", [b"x"])
        await archive.close()

    asyncio.run(main())


def test_a_quota_counts_as_full_until_a_mebibyte_can_be_written():
    """It does not show in what the file system says is free, and a few bytes may still fit."""

    class Quota(ModelKernel):
        def space(self):
            return Space(1 << 40, 1 << 40)

    async def main():
        disk = Disk(size=1 << 20)
        archive = await Archive(["/home"], "p", kernel=lambda _: Quota(disk), reserve=Reserve(size=0)).open()
        with pytest.raises(Full):
            await archive.store("crashes/20261122/x.zip", [bytes(2 << 20)])
        assert health(archive) == ["full"]
        await archive.roots[0].probe()
        assert health(archive) == ["ok"], "there is room for a MiB again"
        await archive.store("crashes/20261122/y.zip", [bytes(900 << 10)])
        with pytest.raises(Full):
            await archive.store("crashes/20261122/z.zip", [bytes(900 << 10)])
        await archive.roots[0].probe()
        assert health(archive) == ["full"]
        disk.size *= 4
        await archive.roots[0].probe()
        assert health(archive) == ["ok"]
        await archive.close()

    asyncio.run(main())


class Slow(Kernel):
    """Takes its time, but answers: a busy disk."""

    def fsync(self, fd):
        threading.Event().wait(0.02)
        super().fsync(fd)


def test_waiting_for_a_turn_is_not_hanging(opened):
    """A burst of reports on a slow disk: each waits longer than HANG_AFTER, and none is refused."""

    async def main():
        async with opened(kernel=Slow, hang_after=0.5, threads=1) as archive:
            await asyncio.gather(*(archive.store(f"crashes/20261122/{n}.zip", [b"x"]) for n in range(60)))
            assert health(archive) == ["ok"]

    asyncio.run(main())


class Stuck(Kernel):
    """Its calls of `what` wait until told otherwise."""

    def __init__(self, root):
        super().__init__(root)
        self.what = ""
        self.free = threading.Event()

    def _wait(self, name):
        if self.what == name:
            assert self.free.wait(60)

    def fsync(self, fd):
        self._wait("fsync")
        super().fsync(fd)

    def pread(self, fd, size, offset):
        self._wait("pread")
        return super().pread(fd, size, offset)


def test_when_all_workers_are_stuck_nobody_waits_for_ever(opened, until):
    """Those who wait for a turn hear of it at once, and the root does not count as well while nobody can work on it."""

    async def main():
        async with opened(kernel=Stuck, hang_after=0.3, threads=2) as archive:
            kernel = archive.roots[0].files.kernel
            span = await archive.store("crashes/20261122/x.zip", [b"x"])
            kernel.what = "pread"  # probes and stores are fine, reading hangs
            answers = await asyncio.wait_for(
                asyncio.gather(*(archive.read(span) for _ in range(6)), return_exceptions=True), 60
            )
            assert all(isinstance(answer, FileNotFoundError) for answer in answers)
            await archive.roots[0].probe()
            assert health(archive) == ["hanging"], "no worker is left"
            with pytest.raises(Failed):
                await archive.store("crashes/20261122/y.zip", [b"x"])
            kernel.what = ""
            kernel.free.set()
            await until(lambda: health(archive) == ["ok"])
            await archive.store("crashes/20261122/y.zip", [b"x"])
            assert await archive.read(span) == b"x"

    asyncio.run(main())


def test_a_cancelled_store_is_not_published(tmp_path, opened, until):
    async def main():
        async with opened(kernel=Stuck) as archive:
            kernel = archive.roots[0].files.kernel
            kernel.what = "fsync"
            storing = asyncio.create_task(archive.store("crashes/20261122/x.zip", [b"x"]))
            await until(lambda: any((tmp_path / "home/.tmp/p").glob("[0-9]*")))
            storing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await storing
            kernel.free.set()
            await until(lambda: not any((tmp_path / "home/.tmp/p").glob("[0-9]*")))
        assert on_disk(tmp_path / "home") == {}

    asyncio.run(main())


def test_a_cancelled_upload_leaves_nothing_and_its_descriptor_is_not_given_away(tmp_path, opened, until):
    """The worker still hangs in the file when the sender is gone: it must not write into the next one's."""

    async def main():
        async with opened(kernel=Stuck, hang_after=0.2) as archive:
            kernel = archive.roots[0].files.kernel

            async def send():
                async with archive.upload() as upload:
                    await upload.write(b"first")
                    kernel.what = "fsync"
                    await upload.commit("crashes/20261122/x.zip")

            sending = asyncio.create_task(send())
            await until(lambda: kernel.what)
            await asyncio.sleep(0.05)
            sending.cancel()
            with pytest.raises((asyncio.CancelledError, Failed)):
                await asyncio.wait_for(sending, 60)
            kernel.what = ""
            await archive.roots[0].probe()
            await archive.store("crashes/20261122/y.zip", [b"second"])
            kernel.free.set()
            await until(lambda: not any((tmp_path / "home/.tmp/p").glob("[0-9]*")))
        assert on_disk(tmp_path / "home") == {"crashes/20261122/y.zip": b"second"}

    asyncio.run(main())


def test_a_root_that_fails_once_is_used_again_soon(until):
    async def main():
        kernel = FaultyKernel(ModelKernel(Disk()), fail(errno.EIO, "fsync"), 10**9)
        archive = await Archive(
            ["/home"], "p", kernel=lambda _: kernel, reserve=Reserve(size=0), clock=lambda: NOW
        ).open()
        kernel._left = 1
        with pytest.raises(Failed):
            await archive.store("crashes/20261122/x.zip", [b"x"])
        assert health(archive) == ["failing"]
        await until(lambda: health(archive) == ["ok"])
        await archive.store("crashes/20261122/x.zip", [b"x"])
        await archive.close()

    asyncio.run(main())


def test_many_who_list_one_folder_at_once_each_see_all_of_it(tmp_path, opened):
    """Threads that shared a descriptor shared its place in the listing: each saw what the others had left."""
    names = [f"{number}.zip" for number in range(300)]

    async def main():
        async with opened("home") as archive:
            for name in names:
                await archive.store(f"crashes/20261122/{name}", [b"x"])
            for _ in range(20):
                listings = await asyncio.gather(*(archive.entries("crashes/20261122") for _ in range(8)))
                assert [len(listing) for listing in listings] == [len(names)] * 8

    asyncio.run(main())


def test_a_folder_that_another_thread_forgets_meanwhile_is_listed_all_the_same(tmp_path, monkeypatch):
    kernel = Kernel(tmp_path)
    (tmp_path / "crashes").mkdir()
    (tmp_path / "crashes" / "x.zip").write_bytes(b"x")
    found = kernel._folder

    def found_and_forgotten(path, **how):
        folder = found(path, **how)
        kernel._folders.clear()
        return folder

    monkeypatch.setattr(kernel, "_folder", found_and_forgotten)
    assert [entry.name for entry in kernel.entries("crashes")] == ["x.zip"]

"""A growing file has one writer, ends in whole lines, and is let go when nobody uses it; nobody's line is lost or misplaced."""

import asyncio
import os
import threading

import pytest
from archive_oracle import NOW, Fillable, Oracle, empty_home, fill_home, on_disk
from model_kernel import Disk, ModelKernel

from lae_monitor.archive import Archive, Full, Journal, Reserve, growing
from lae_monitor.archive.growing import numbered
from lae_monitor.archive.kernel import Kernel
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span

PATH = "sonar/c/2026/11/22/h.csv"


class Gated(Kernel):
    """fdatasync waits until the gate is open; one gate a root."""

    def __init__(self, root):
        super().__init__(root)
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Semaphore(0)

    def fdatasync(self, fd):
        self.waiting.release()
        assert self.gate.wait(60)
        super().fdatasync(fd)


class Counting(ModelKernel):
    def __init__(self, disk):
        super().__init__(disk)
        self.most = []

    def fdatasync(self, fd):
        self.most.append(self.open_descriptors())
        super().fdatasync(fd)


@pytest.mark.parametrize("data", [b"", b"no newline", b"one\ntwo"])
def test_what_is_no_whole_line_is_not_taken(opened, data):
    """It would look torn at the next start, and be cut although it was acknowledged."""

    async def main():
        async with opened() as archive:
            with pytest.raises(ValueError, match="whole lines"):
                await archive.append(PATH, data)

    asyncio.run(main())


def test_every_writer_gets_its_own_place(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened() as archive:
            await asyncio.gather(
                *(oracle.append(archive, f"sonar/c/2026/11/22/h{n % 5}.csv", 10 + n * 7) for n in range(300))
            )
            assert len(oracle.acknowledged) == 300
        oracle.check(on_disk(tmp_path / "home"))
        assert sum(map(len, on_disk(tmp_path / "home").values())) == sum(10 + n * 7 for n in range(300))

    asyncio.run(main())


def test_close_waits_for_those_who_wait_and_then_refuses(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened(kernel=Gated) as archive:
            kernel = archive.roots[0].files.kernel
            await oracle.append(archive, PATH, 50)
            kernel.gate.clear()
            waiting = [asyncio.create_task(oracle.append(archive, PATH, 60)) for _ in range(20)]
            assert await asyncio.to_thread(kernel.waiting.acquire, timeout=60)
            late = [asyncio.create_task(oracle.append(archive, PATH, 70)) for _ in range(20)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(archive.close())
            await asyncio.sleep(0.05)
            assert not closing.done()
            kernel.gate.set()
            await closing
            assert all(await asyncio.gather(*waiting, *late))
            for attempt in (archive.append(PATH, b"x\n"), archive.store("crashes/20261122/x.zip", [b"x"])):
                with pytest.raises(Refused, match="shutting_down"):
                    await attempt
            with pytest.raises(Refused, match="shutting_down"):
                async with archive.upload():
                    pass
        oracle.check(on_disk(tmp_path / "home"))
        assert len(oracle.acknowledged) == 41

    asyncio.run(main())


def test_a_caller_that_gave_up_before_its_turn_leaves_nothing_behind(tmp_path, opened):
    async def main():
        async with opened(kernel=Gated) as archive:
            kernel = archive.roots[0].files.kernel
            kernel.gate.clear()
            first = asyncio.create_task(archive.append(PATH, b"first\n"))
            assert await asyncio.to_thread(kernel.waiting.acquire, timeout=60)
            second = asyncio.create_task(archive.append(PATH, b"second\n"))
            third = asyncio.create_task(archive.append(PATH, b"third\n"))
            await asyncio.sleep(0)
            second.cancel()
            first.cancel()  # too late: it is being written
            kernel.gate.set()
            assert await third == Span(PATH, 6, 12)
        assert on_disk(tmp_path / "home") == {PATH: b"first\nthird\n"}

    asyncio.run(main())


def test_only_so_many_files_stay_open_even_when_all_are_busy(monkeypatch):
    """The least used are closed, and opened again under their own name."""
    monkeypatch.setattr(growing, "MAX_OPEN", 4)

    async def main():
        disk = Disk()
        kernel = Counting(disk)
        archive = await Archive(["/home"], "p", kernel=lambda _: kernel, reserve=Reserve(size=0)).open()
        oracle = Oracle()
        for _ in range(3):
            await asyncio.gather(*(oracle.append(archive, f"sonar/c/{n}.csv", 30) for n in range(40)))
            assert max(kernel.most) <= 4 + 1, "and the lock of the temporary folder"
        assert len(oracle.acknowledged) == 120
        assert sorted(disk.contents()) == sorted(f"sonar/c/{n}.csv" for n in range(40))
        oracle.check(disk.contents())
        await archive.close()

    asyncio.run(main())


def test_what_is_not_used_is_let_go(opened, monkeypatch):
    monkeypatch.setattr(growing, "CLOSE_AFTER", -1.0)

    async def main():
        async with opened() as archive, opened(process="q") as other:
            assert await archive.append(PATH, b"one\n") == Span(PATH, 0, 4)
            archive._growing.tidy(archive.roots[0])
            # The old descriptor is still being closed; its lock is waited for.
            assert await archive.append(PATH, b"two\n") == Span(PATH, 4, 8)
            archive._growing.tidy(archive.roots[0])
            await archive._growing.close()
            assert await other.append(PATH, b"three\n") == Span(PATH, 8, 14)

    asyncio.run(main())


def test_two_processes_never_write_to_one_file(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened() as one, opened(process="q") as other:
            await asyncio.gather(*(oracle.append(archive, PATH, 90) for archive in (one, other) for _ in range(20)))
            assert len({span.path for span, _ in oracle.acknowledged}) == 2
            assert [archive.health()[0]["health"] for archive in (one, other)] == ["ok", "ok"]
        oracle.check(on_disk(tmp_path / "home"))
        assert oracle.refused == []

    asyncio.run(main())


def test_a_writer_from_outside_makes_it_go_elsewhere(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened() as archive:
            await oracle.append(archive, PATH, 40)
            with (tmp_path / "home" / PATH).open("ab") as file:
                file.write(b"an operator's line\n")
            assert await oracle.append(archive, PATH, 50)
            os.unlink(tmp_path / "home" / oracle.acknowledged[-1][0].path)
            oracle.acknowledged.pop()
            assert await oracle.append(archive, PATH, 60), "written to a file that is gone"
        oracle.check(on_disk(tmp_path / "home"))

    asyncio.run(main())


def test_a_folder_that_retention_removed_is_made_again(tmp_path, opened):
    async def main():
        async with opened() as archive:
            await archive.append("sonar/c/2026/11/22/h.csv", b"x\n")
            await archive.store("crashes/20261122/x.zip", [b"x"])
            await archive._growing.close()
            for path in (tmp_path / "home/sonar/c/2026/11/22/h.csv", tmp_path / "home/crashes/20261122/x.zip"):
                path.unlink()
                path.parent.rmdir()
            (tmp_path / "home/sonar/c/2026/11").rmdir()
            (tmp_path / "home/sonar/c/2026").rmdir()
            assert await archive.append("sonar/c/2026/11/22/h.csv", b"y\n") == Span("sonar/c/2026/11/22/h.csv", 0, 2)
            await archive.store("crashes/20261122/y.zip", [b"y"])
            assert archive.health()[0]["health"] == "ok"

    asyncio.run(main())


def test_the_root_emptied_under_its_feet_is_made_again(tmp_path, opened):
    async def main():
        async with opened() as archive:
            await archive.store("crashes/20261122/x.zip", [b"x"])
            os.rename(tmp_path / "home", tmp_path / "gone")
            os.mkdir(tmp_path / "home")
            await archive.store("crashes/20261122/x.zip", [b"x"])
            assert on_disk(tmp_path / "home") == {"crashes/20261122/x.zip": b"x"}

    asyncio.run(main())


def test_the_journal_begins_a_new_file_each_day(tmp_path, opened):
    now = [NOW]

    async def main():
        async with opened(clock=lambda: now[0]) as archive:
            journal = Journal(archive, lambda: now[0])
            paths = []
            for _ in range(3):
                paths.append((await journal.write("mark", text="x")).path)
                now[0] += 43200
            assert paths == [f"journal/2026/11/{day}/p.jsonl" for day in (22, 22, 23)]

    asyncio.run(main())


def test_pieces_away_from_home_have_numbers_even_if_the_clock_stands_still(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened("home", "away", clock=lambda: NOW, kernel=Fillable) as archive:
            for _ in range(5):
                await oracle.append(archive, PATH, 30)
                await fill_home(archive)
                await oracle.append(archive, PATH, 30)
                await oracle.append(archive, PATH, 30)
                await empty_home(archive)
        assert len(on_disk(tmp_path / "away")) == 5
        assert list(on_disk(tmp_path / "home")) == [PATH]
        oracle.check(on_disk(tmp_path / "home"), on_disk(tmp_path / "away"))

    asyncio.run(main())


def test_the_only_root_full_is_said_to_be_full(opened):
    async def main():
        async with opened(kernel=Fillable) as archive:
            await fill_home(archive)
            with pytest.raises(Full, match="0 B free"):
                await archive.append(PATH, b"x\n")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/h.csv", "a/h.7.csv"),
        ("a/h", "a/h.7"),
        ("a/ml6.hpc.uio.no", "a/ml6.hpc.uio.7.no"),
        ("a/h.179534108500000000.csv", "a/h.7.csv"),
        ("a/h.1795341085000000000", "a/h.7"),
        ("h.csv", "h.7.csv"),
        ("a.b/h", "a.b/h.7"),
    ],
)
def test_numbered_names(path, expected):
    assert numbered(path, 7) == expected


def test_memory_does_not_grow_over_months(monkeypatch):
    """Days come and go: what is remembered of paths, folders and retired files is bounded."""
    from lae_monitor.archive import folders

    monkeypatch.setattr(growing, "MAX_OPEN", 8)
    monkeypatch.setattr(growing, "MAX_RETIRED", 8)
    monkeypatch.setattr(folders, "MAX_KNOWN", 16)

    async def main():
        archive = await Archive(["/home"], "p", kernel=lambda _: ModelKernel(Disk()), reserve=Reserve(size=0)).open()
        root = archive.roots[0]
        for day in range(200):
            taken = archive._growing.take(root, f"sonar/c/{day}/h.csv")
            await archive.append(f"sonar/c/{day}/h.csv", b"x\n")
            await archive.store(f"crashes/{day}/x.zip", [b"x"])
            taken.retired = RuntimeError("for the test")
            archive._growing._on_idle(f"sonar/c/{day}/h.csv", taken)
        await asyncio.sleep(0.05)
        assert len(archive._growing._retired) <= 8
        assert len(archive._growing._by_path) <= 8
        assert len(archive._growing._leaving) == 0
        assert len(archive._growing._closing) <= 8
        assert len(root.files.folders._known) <= 16
        assert len(root._jobs) <= 8
        await archive.close()

    asyncio.run(main())

"""What went to a fallback root comes home by itself: whole, once, under its own path, and never over anything."""

import asyncio
import os
import tracemalloc

import pytest
from archive_oracle import Fillable, Oracle, empty_home, fill_home, on_disk

from lae_monitor.archive import Archive, Journal, Reserve, homecoming
from lae_monitor.archive.folders import FOLDER_REST
from lae_monitor.archive.homecoming import CHUNK, bring_home
from lae_monitor.archive.kernel import Kernel
from lae_monitor.core.limits import MiB
from lae_monitor.core.rows import Span
from lae_monitor.core.time import wall_clock


def test_everything_comes_home_under_its_own_path(tmp_path, opened):
    async def main():
        oracle = Oracle()
        async with opened("home", "away", kernel=Fillable) as archive:
            await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 100)
            await fill_home(archive)
            assert await oracle.store(archive, "crashes/20261122/a.zip", 3 * CHUNK + 17)
            assert await oracle.store(archive, "crashes/20261122/empty.zip", 0)
            assert await oracle.upload(archive, "incidents/c/incidents/h/b.flog.bz2", 5000)
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 100)
            await Journal(archive).write("mark", text="away")
        before = on_disk(tmp_path / "away")
        assert len(before) == 5
        async with opened("home", "away", process="serve", kernel=Fillable) as archive:
            assert await bring_home(archive) == 5
            assert await bring_home(archive) == 0
            for path, data in before.items():
                assert await archive.read(Span(path, 0, 10**9)) == data, "the path changed, or what it leads to"
        assert on_disk(tmp_path / "away") == {}
        assert before.items() <= on_disk(tmp_path / "home").items()
        oracle.check(on_disk(tmp_path / "home"))

    asyncio.run(main())


def test_what_somebody_writes_to_stays_until_he_is_done(tmp_path, opened):
    async def main():
        oracle = Oracle()
        roots = ("home", "away")
        async with opened(*roots, process="serve") as serve, opened(*roots, kernel=Fillable) as gatherer:
            await fill_home(gatherer)
            await oracle.append(gatherer, "sonar/c/h.csv", 100)
            assert await bring_home(serve) == 0
            await oracle.append(gatherer, "sonar/c/h.csv", 100)
            await empty_home(gatherer)
            await oracle.append(gatherer, "sonar/c/h.csv", 100)  # home again
            await gatherer._growing.close()
            assert await bring_home(serve) == 1
        assert on_disk(tmp_path / "away") == {}
        assert len(on_disk(tmp_path / "home")) == 2, "pieces are never merged"
        oracle.check(on_disk(tmp_path / "home"))

    asyncio.run(main())


def test_a_gatherer_lets_go_of_its_piece_once_home_is_well(tmp_path, opened):
    async def main():
        async with (
            opened("home", "away", process="serve", kernel=Fillable) as serve,
            opened("home", "away", kernel=Fillable) as gatherer,
        ):
            await fill_home(gatherer)
            await gatherer.append("sonar/c/h.csv", b"x\n")
            gatherer._growing.tidy(gatherer.roots[1])
            assert await bring_home(serve) == 0
            gatherer._growing.tidy(gatherer.roots[0])
            await asyncio.wait(gatherer._growing._closing.values())
            assert await bring_home(serve) == 1

    asyncio.run(main())


def test_a_piece_that_was_opened_while_it_was_taken_home_is_not_written_to(tmp_path, opened):
    """Its writer had it open, but not yet locked; what it writes now would be lost."""

    class Late(Fillable):
        """Locks late: in between, the file is brought home."""

        def lock(self, fd):
            path = os.readlink(f"/proc/self/fd/{fd}")
            if path.endswith(".csv") and "away" in path and not taken:
                taken.append(path)
                os.unlink(path)
            return super().lock(fd)

    taken = []

    async def main():
        oracle = Oracle()
        async with opened("home", "away", kernel=Late) as archive:
            await fill_home(archive)
            assert await oracle.append(archive, "sonar/c/h.csv", 100)
            assert len(taken) == 1
        oracle.check(on_disk(tmp_path / "away"))

    asyncio.run(main())


def test_what_is_at_home_already_is_only_removed_away(tmp_path, opened):
    async def main():
        async with opened("home", "away", kernel=Fillable) as archive:
            await archive.store("crashes/20261122/a.zip", [b"same"])
        (tmp_path / "away/crashes/20261122").mkdir(parents=True)
        (tmp_path / "away/crashes/20261122/a.zip").write_bytes(b"same")
        async with opened("home", "away", kernel=Fillable) as archive:
            assert await bring_home(archive) == 1
        assert on_disk(tmp_path / "home") == {"crashes/20261122/a.zip": b"same"}
        assert on_disk(tmp_path / "away") == {}

    asyncio.run(main())


def test_what_differs_gets_a_number_and_always_the_same(tmp_path, opened):
    async def main():
        files = {
            "crashes/20261122/a.zip": b"other",
            "sonar/c/h.csv": b"other\n",
            "crashes/20261122/b.zip": b"longer than home",
        }
        for path, data in files.items():
            for root, content in (("home", data[:3] + b" at home"), ("away", data)):
                (tmp_path / root / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / root / path).write_bytes(content)
        before = on_disk(tmp_path / "home")
        for _ in range(3):  # as after being killed before the removal
            for path, data in files.items():
                (tmp_path / "away" / path).write_bytes(data)
            async with opened("home", "away", kernel=Fillable) as archive:
                assert await bring_home(archive) == 3
        after = on_disk(tmp_path / "home")
        assert before.items() <= after.items(), "something at home was touched"
        assert sorted(data for path, data in after.items() if path not in before) == sorted(files.values())
        for path in after.keys() - before.keys():
            stem, number, suffix = path.rsplit(".", 2)
            assert number.isdigit() and f"{stem}.{suffix}" in files

    asyncio.run(main())


def test_home_in_trouble_is_left_alone(tmp_path, opened):
    async def main():
        async with opened("home", "away", kernel=Fillable) as archive:
            await fill_home(archive)
            await archive.store("crashes/20261122/a.zip", [b"x"])
            assert await bring_home(archive) == 0
        assert list(on_disk(tmp_path / "away")) == ["crashes/20261122/a.zip"]
        assert on_disk(tmp_path / "home") == {}

    asyncio.run(main())


def test_one_file_that_cannot_come_does_not_keep_the_others(tmp_path, opened, caplog):
    async def main():
        (tmp_path / "home").mkdir()
        (tmp_path / "home/blocked").write_bytes(b"a file")
        for path in ("blocked/a.zip", "crashes/20261122/b.zip", "zzz/c.zip"):
            (tmp_path / "away" / path).parent.mkdir(parents=True)
            (tmp_path / "away" / path).write_bytes(path.encode())
        (tmp_path / "victim").write_bytes(b"precious")
        (tmp_path / "away/crashes/20261122/link.zip").symlink_to(tmp_path / "victim")
        (tmp_path / "away/crashes/bad name").write_bytes(b"not ours")
        async with opened("home", "away", kernel=Fillable) as archive:
            assert await bring_home(archive) == 2
            assert archive.health()[0]["health"] == "ok"
        assert "blocked/a.zip stays on" in caplog.text
        assert sorted(on_disk(tmp_path / "home")) == ["blocked", "crashes/20261122/b.zip", "zzz/c.zip"]
        assert (tmp_path / "away/crashes/20261122/link.zip").is_symlink()
        assert (tmp_path / "victim").read_bytes() == b"precious"

    asyncio.run(main())


def test_a_copy_that_is_not_what_it_was_made_from_keeps_the_original(tmp_path, opened, caplog):
    class Lying(Kernel):
        def writev(self, fd, parts):
            return super().writev(fd, [bytes(part).replace(b"1", b"2") for part in parts])

    async def main():
        (tmp_path / "away/crashes").mkdir(parents=True)
        (tmp_path / "away/crashes/a.zip").write_bytes(b"0123")
        async with opened("home", "away", kernel=Lying) as archive:
            assert await bring_home(archive) == 0
        assert on_disk(tmp_path / "away") == {"crashes/a.zip": b"0123"}
        assert "not at home what it was here" in caplog.text

    asyncio.run(main())


def test_two_at_once_bring_everything_once(tmp_path, opened):
    async def main():
        for number in range(30):
            (tmp_path / f"away/crashes/{number % 3}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"away/crashes/{number % 3}/{number}.zip").write_bytes(b"%d" % number * 100)
        before = on_disk(tmp_path / "away")
        async with opened("home", "away", kernel=Fillable) as one, opened("home", "away", process="q") as other:
            brought = await asyncio.gather(bring_home(one), bring_home(other))
            assert sum(brought) + await bring_home(one) >= 30
        assert on_disk(tmp_path / "home") == before
        assert on_disk(tmp_path / "away") == {}

    asyncio.run(main())


def test_empty_folders_go_after_a_rest(tmp_path, opened):
    async def main():
        async with opened("home", "away", kernel=Fillable) as archive:
            await fill_home(archive)
            await archive.store("crashes/20261122/a.zip", [b"x"])
            await empty_home(archive)
            assert await bring_home(archive) == 1
            assert (tmp_path / "away/crashes/20261122").is_dir(), "somebody may be about to put a file there"
            await bring_home(archive, lambda: wall_clock() + FOLDER_REST + 60)
            assert not (tmp_path / "away/crashes").exists()

    asyncio.run(main())


@pytest.mark.parametrize("same", [False, True])
def test_memory_is_bounded(tmp_path, monkeypatch, same):
    """Whatever the size of the file, only pieces of it are in memory."""
    monkeypatch.setattr(homecoming, "CHUNK", 64 * 1024)
    (tmp_path / "away/crashes").mkdir(parents=True)
    (tmp_path / "away/crashes/large.zip").write_bytes(os.urandom(8 * MiB))
    if same:
        (tmp_path / "home/crashes").mkdir(parents=True)
        (tmp_path / "home/crashes/large.zip").write_bytes(b"x")

    async def main():
        archive = await Archive([tmp_path / "home", tmp_path / "away"], "serve", reserve=Reserve(size=0)).open()
        tracemalloc.start()
        try:
            assert await bring_home(archive) == 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await archive.close()
        assert peak < 2 * MiB

    asyncio.run(main())

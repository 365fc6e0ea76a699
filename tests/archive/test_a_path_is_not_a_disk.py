"""A root is used only when it says that it is ours: what is acknowledged is never on a folder that a mount will hide."""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from archive_oracle import on_disk as everything_on

from lae_monitor.archive import Archive, Failed, Reserve
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.archive.identity import FILE, NotOurs
from lae_monitor.archive.installation import Installation

CRASH = "crashes/20261122/{}.zip"
SAMPLES = "sonar/c/2026/11/22/h.csv"


class Site:
    """A state folder and roots, as processes open them."""

    def __init__(self, folder: Path, *roots: str) -> None:
        self.state = folder / "state"
        self.roots = [folder / root for root in roots or ("home",)]

    @contextlib.asynccontextmanager
    async def opened(self, process: str = "p"):
        archive = await Archive(
            self.roots, process, reserve=Reserve(size=0), installation=Installation(self.state, self.roots)
        ).open()
        try:
            yield archive
        finally:
            await archive.close()

    def run(self, job=None) -> list[str]:
        """Opens, does `job(archive)`, and returns each root's health."""

        async def main():
            async with self.opened() as archive:
                if job is not None:
                    await job(archive)
                return [root["health"] for root in archive.health()]

        return asyncio.run(main())

    def ledger(self, *paths: str) -> None:
        """What a release that knew no identities left: a ledger, and the folders that its processes had open."""
        self.state.mkdir(exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.state / "mover.db")) as db, db:
            db.execute("CREATE TABLE files (path TEXT PRIMARY KEY, moved INTEGER NOT NULL) WITHOUT ROWID")
            db.executemany("INSERT INTO files VALUES (?, 1)", [(path,) for path in paths])

    def older(self, root: Path, *paths: str) -> None:
        for path in (".tmp/gather-crashes/lock", *paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("x")


def said(folder: Path) -> dict:
    return json.loads((folder / FILE).read_text())


def on_disk(root: Path) -> dict[str, bytes]:
    return {path: data for path, data in everything_on(root).items() if path != FILE}


def store(name: str):
    return lambda archive: archive.store(CRASH.format(name), [b"x"])


def test_a_new_installation_needs_nothing_and_names_every_folder_of_its_own(tmp_path):
    site = Site(tmp_path, "a/b/home", "away")
    assert site.run(store("one")) == ["ok", "ok"]
    assert {said(folder)["installation"] for folder in (site.state, *site.roots)} == {said(site.state)["installation"]}
    assert [said(folder)["part"] for folder in (site.state, *site.roots)] == ["state", "archive", "archive"]
    assert {oct((folder / FILE).stat().st_mode & 0o777) for folder in (site.state, *site.roots)} == {"0o600"}
    assert site.run(store("two")) == ["ok", "ok"]


def test_a_root_whose_disk_is_not_mounted_takes_nothing_and_works_again_by_itself(tmp_path, until):
    site = Site(tmp_path)
    site.run(store("before"))
    disk = tmp_path / "disk"
    site.roots[0].rename(disk)
    for mount_point in (False, True):
        if mount_point:
            site.roots[0].mkdir()

        async def main(mount_point=mount_point):
            async with site.opened() as archive:
                assert archive.health()[0]["health"] == "refused"
                assert f"lae-monitor archive adopt {site.roots[0]}" in archive.health()[0]["error"]
                for attempt in (
                    archive.store(CRASH.format("x"), [b"x"]),
                    archive.append(SAMPLES, b"x\n"),
                    archive.replace("incidents/c/incidents/h/latest", b"x\n"),
                ):
                    with pytest.raises(Failed, match="Mount its disk") as refused:
                        await attempt
                    assert refused.value.status == 503
                with pytest.raises(Failed):
                    async with archive.upload() as upload:
                        await upload.write(b"x")
                assert await archive.entries("") == []
                assert archive.silent() == [str(site.roots[0])]
                assert not site.roots[0].exists() or not list(site.roots[0].iterdir()), "not touched"
                shutil.rmtree(site.roots[0], ignore_errors=True)
                disk.rename(site.roots[0])
                await until(lambda: archive.health()[0]["health"] == "ok")
                await archive.store(CRASH.format(f"after-{mount_point}"), [b"x"])
                site.roots[0].rename(disk)

        asyncio.run(main())
    assert sorted(on_disk(disk)) == [CRASH.format(name) for name in ("after-False", "after-True", "before")]


def test_other_roots_work_on_and_nothing_of_a_foreign_one_is_read_or_brought_home(tmp_path):
    theirs = Site(tmp_path / "theirs", "root")
    theirs.run(store("theirs"))
    site = Site(tmp_path, "home", "away")
    site.run()
    shutil.rmtree(site.roots[1])
    shutil.copytree(theirs.roots[0], site.roots[1])

    async def job(archive):
        assert "belongs to installation" in archive.health()[1]["error"]
        assert await bring_home(archive) == 0
        assert await archive.entries("crashes") == []
        with pytest.raises(FileNotFoundError, match="refused"):
            await archive.settle(CRASH.format("theirs"))
        await archive.store(CRASH.format("ours"), [b"x"])
        await archive.remove(CRASH.format("ours"))  # retention goes on without it
        await archive.store(CRASH.format("theirs"), [b"x"])

    assert site.run(job) == ["ok", "refused"]
    assert sorted(on_disk(site.roots[1])) == [CRASH.format("theirs")]
    site.roots.reverse()
    assert site.run(store("more")) == ["refused", "ok"], "the one that is left takes the writes"


def test_adopting_a_root_makes_it_ours_while_others_run(tmp_path, until):
    theirs = Site(tmp_path / "theirs", "root")
    theirs.run(store("theirs"))
    site = Site(tmp_path)
    site.run()
    shutil.rmtree(site.roots[0])
    shutil.copytree(theirs.roots[0], site.roots[0])

    async def main():
        async with site.opened() as archive:
            assert archive.health()[0]["health"] == "refused"
            before = Installation(site.state, site.roots).adopt(site.roots[0])
            assert before == said(theirs.state)["installation"]
            await until(lambda: archive.health()[0]["health"] == "ok")
            assert await archive.read(await archive.store(CRASH.format("ours"), [b"x"])) == b"x"

    asyncio.run(main())
    assert Installation(site.state, site.roots).adopt(site.roots[0]) == said(site.state)["installation"], "once more"


def test_an_added_root_is_adopted_first(tmp_path):
    site = Site(tmp_path)
    site.run()
    site.roots.append(tmp_path / "added")
    assert site.run() == ["ok", "refused"]
    assert not site.roots[1].exists()
    Installation(site.state, site.roots).adopt(site.roots[1])
    assert site.run() == ["ok", "ok"]


def test_an_older_state_gives_its_name_to_the_roots_that_its_ledger_knows(tmp_path):
    for name, files, health in (
        ("used and unused fallback", [[CRASH.format("known"), CRASH.format("new")], []], ["ok", "ok"]),
        ("both used", [[CRASH.format("known")], ["journal/2026/11/22/x.jsonl"]], ["ok", "ok"]),
        ("home is another disk", [[CRASH.format("strange")], ["journal/2026/11/22/x.jsonl"]], ["refused", "ok"]),
        ("home is not mounted", [None, ["journal/2026/11/22/x.jsonl"]], ["refused", "ok"]),
        ("home is not there", ["missing", ["journal/2026/11/22/x.jsonl"]], ["refused", "ok"]),
        ("a fallback that nobody had open", [[CRASH.format("known")], None], ["ok", "refused"]),
        ("nothing is mounted", [None, None], ["refused", "refused"]),
    ):
        site = Site(tmp_path / name, "home", "away")
        site.state.mkdir(parents=True)
        site.ledger(CRASH.format("known"), "journal/2026/11/22/x.jsonl")
        for root, paths in zip(site.roots, files, strict=True):
            if paths is None:
                root.mkdir()
            elif paths != "missing":
                site.older(root, *paths)

        async def settled(archive, health=health, name=name):
            for root in archive.roots:  # a fallback waits until another root is known
                await root.probe()
            assert [root["health"] for root in archive.health()] == health, name

        site.run(settled)
        assert site.run() == health, name


def test_a_disk_that_was_away_at_the_upgrade_is_known_when_it_comes(tmp_path):
    site = Site(tmp_path, "home", "away")
    site.ledger(CRASH.format("known"), CRASH.format("other"))
    site.older(site.roots[1], CRASH.format("other"))
    site.roots[0].mkdir()
    assert site.run() == ["refused", "ok"]
    site.older(site.roots[0], CRASH.format("known"))
    assert site.run() == ["ok", "ok"]
    shutil.rmtree(site.roots[0])
    site.older(site.roots[0], CRASH.format("known"))
    assert site.run() == ["refused", "ok"], "it had its file: without it, it is another folder"


def test_a_state_without_a_ledger_or_with_an_empty_one_is_as_good_as_new(tmp_path):
    for name, ledger, files, health in (
        ("gatherers only", None, [[CRASH.format("x")], []], ["ok", "ok"]),
        ("gatherers only, home away", None, [None, [CRASH.format("x")]], ["refused", "ok"]),
        ("never used", [], [[], []], ["ok", "ok"]),
        ("a new disk", None, [["lost+found/x"], None], ["ok", "ok"]),
    ):
        site = Site(tmp_path / name, "home", "away")
        site.state.mkdir(parents=True)
        if ledger is not None:
            site.ledger(*ledger)
        for root, paths in zip(site.roots, files, strict=True):
            if paths is None:
                root.mkdir()
            else:
                site.older(root, *paths)
        site.run()
        assert site.run() == health, name


@pytest.mark.parametrize("damage", [b"no database" * 1000, b""])
@pytest.mark.parametrize(
    ("files", "health"),
    [
        ([None, None], ["refused", "refused"]),
        (["missing", "missing"], ["refused", "refused"]),
        ([None, [CRASH.format("x")]], ["refused", "ok"]),
        ([[CRASH.format("x")], []], ["ok", "ok"]),
        ([[CRASH.format("x")], None], ["ok", "refused"]),
        ([[], []], ["refused", "refused"]),
        (
            [(".keep", "DISK NOT MOUNTED"), ("journal/2026/11/22/x.jsonl",)],
            ["refused", "ok"],
        ),  # the second one is a copy
    ],
)
def test_with_a_damaged_ledger_only_a_root_with_files_of_ours_gets_its_name(tmp_path, damage, files, health):
    site = Site(tmp_path, "home", "away")
    site.state.mkdir()
    (site.state / "mover.db").write_bytes(damage)
    for root, paths in zip(site.roots, files, strict=True):
        if paths is None:
            root.mkdir()
        elif isinstance(paths, tuple):
            for path in paths:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
        elif paths != "missing":
            site.older(root, *paths)
    site.run()
    (site.state / "mover.db").rename(site.state / "mover.db.aside-20261122T000000Z")  # as `serve` does
    site.ledger()
    assert site.run() == health
    with contextlib.closing(sqlite3.connect(site.state / "mover.db")) as db, db:
        db.execute("INSERT INTO files VALUES (?, 1)", (CRASH.format("known"),))  # as the store knows it
    for root, now in zip(site.roots, health, strict=True):
        if now == "refused":
            site.older(root, CRASH.format("known"))  # it is mounted
    assert site.run() == ["ok", "ok"]


@pytest.mark.parametrize("name", ["alerts.db", "gather-incidents.db", "crashmover.db"])
def test_another_ledger_makes_no_state_an_older_one(tmp_path, name):
    site = Site(tmp_path)
    site.state.mkdir()
    (site.state / name).touch()
    assert site.run() == ["ok"]


def test_an_empty_state_takes_over_the_archive_that_was_restored(tmp_path):
    site = Site(tmp_path, "home", "away")
    site.run(store("x"))
    name = said(site.state)["installation"]
    shutil.rmtree(site.state)
    shutil.rmtree(site.roots[1])
    assert site.run() == ["ok", "refused"], "the fallback's disk is not there yet"
    assert said(site.state)["installation"] == name


def test_a_state_restored_from_before_its_name_knows_its_archive_from_another_one(tmp_path):
    theirs = Site(tmp_path / "theirs", "root")
    theirs.run(store("theirs"))
    site = Site(tmp_path, "home", "away")
    site.run(store("known"))
    name = said(site.state)["installation"]
    (site.state / FILE).unlink()
    site.ledger(CRASH.format("known"))
    site.roots.insert(0, theirs.roots[0])
    assert site.run() == ["refused", "ok", "ok"]
    assert said(site.state)["installation"] == name


def test_a_folder_in_another_ones_place_is_refused(tmp_path):
    site = Site(tmp_path)
    site.run()
    shutil.copytree(site.state, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    wrong = Site(tmp_path)
    wrong.roots = [tmp_path / "copy"]
    assert wrong.run() == ["refused"]
    wrong = Site(tmp_path)
    wrong.state = site.roots[0]
    with pytest.raises(Failed, match="is an archive root, not the state folder"):
        wrong.run()
    with pytest.raises(NotOurs, match="state folder"):
        Installation(site.state, site.roots).adopt(site.state)
    (site.roots[0] / FILE).write_text("rubbish")
    assert site.run() == ["refused"]
    Installation(site.state, site.roots).adopt(site.roots[0])
    assert site.run() == ["ok"]


def test_two_names_for_one_folder_are_one_root(tmp_path):
    """The mover would bring its files home to where they are, and then remove them."""
    site = Site(tmp_path, "home", "away")
    site.run(store("x"))
    shutil.rmtree(site.roots[1])
    site.roots[1].symlink_to(site.roots[0])

    async def job(archive):
        assert "is the same folder as" in next(root["error"] for root in archive.health() if root["error"])
        await bring_home(archive)

    assert sorted(site.run(job)) == ["ok", "refused"]
    assert sorted(on_disk(site.roots[0])) == [CRASH.format("x")]


@pytest.mark.parametrize("way", ["store", "upload", "append", "replace"])
def test_nothing_is_acknowledged_into_a_folder_that_took_the_roots_place(tmp_path, way, until):
    """Between two probes, too: descriptors that are open lead to the folder that is hidden now."""
    site = Site(tmp_path, "home", "away")
    site.run()
    disk = tmp_path / "disk"

    async def main():
        async with site.opened() as archive, archive.upload() as upload:
            await archive.append(SAMPLES, b"1\n")
            await archive.store(CRASH.format("one"), [b"x"])
            await archive.replace("incidents/c/incidents/h/latest", b"1\n")
            await upload.write(b"x")
            site.roots[0].rename(disk)
            site.roots[0].mkdir()
            if way == "store":
                await archive.store(CRASH.format("two"), [b"x"])
            elif way == "append":
                await archive.append(SAMPLES, b"2\n")
            elif way == "replace":
                with pytest.raises(Failed):
                    await archive.replace("incidents/c/incidents/h/latest", b"2\n")
            else:
                with pytest.raises(Failed):
                    await upload.commit(CRASH.format("two"))
            assert on_disk(site.roots[0]) == {}
            await until(lambda: archive.health()[0]["health"] == "refused")
            shutil.rmtree(site.roots[0])
            disk.rename(site.roots[0])
            await until(lambda: archive.health()[0]["health"] == "ok")
            await archive.append(SAMPLES, b"3\n")
            await archive.store(CRASH.format("three"), [b"x"])

    asyncio.run(main())
    found = on_disk(site.roots[0])
    away = on_disk(site.roots[1])
    assert CRASH.format("three") in found
    assert (CRASH.format("two") in away) == (way == "store")
    samples = b"".join(data for path, data in [*found.items(), *away.items()] if path.startswith("sonar/"))
    assert set(samples.split()) == {b"1", b"3"} | ({b"2"} if way == "append" else set())


def test_a_growing_file_that_is_another_one_now_takes_no_more(tmp_path):
    """A disk that went and came back as a copy: the root is ours again, the open file is of the disk that went."""
    site = Site(tmp_path)

    async def job(archive):
        await archive.append(SAMPLES, b"1\n")
        shutil.copytree(site.roots[0], tmp_path / "copy")
        site.roots[0].rename(tmp_path / "gone")
        (tmp_path / "copy").rename(site.roots[0])
        await archive.roots[0].probe()
        span = await archive.append(SAMPLES, b"2\n")
        assert await archive.read(span) == b"2\n"

    assert site.run(job) == ["ok"]


def test_however_many_processes_start_at_once_they_are_one_installation(tmp_path):
    for round_ in range(10):
        site = Site(tmp_path / str(round_), "home", "away")
        site.state.parent.mkdir()
        found, start = [], threading.Barrier(8)

        def begin(site=site, found=found, start=start):
            installation = Installation(site.state, site.roots)
            start.wait()
            for root in site.roots:
                installation.check_root(root)
            found.append(installation.known().installation)

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert set(found) == {said(folder)["installation"] for folder in (site.state, *site.roots)}
        left = [name for folder in (site.state, *site.roots) for name in os.listdir(folder) if name.startswith(FILE)]
        assert left == [FILE] * 3


def test_killed_between_any_two_steps_of_the_first_start_the_next_one_goes_on(tmp_path, monkeypatch):
    """State first, then the roots: whatever of it is there, nobody has to adopt anything."""
    from lae_monitor.archive import installation as module

    class Killed(BaseException):
        pass

    steps = 0
    for cut in range(1, 300, 3):
        site = Site(tmp_path / str(cut), "home", "away")
        site.state.parent.mkdir()
        count = [0]

        def step(call, count=count, cut=cut):
            def made(*args, **kwargs):
                count[0] += 1
                if count[0] == cut:
                    raise Killed
                return call(*args, **kwargs)

            return made

        with monkeypatch.context() as patch:
            for name in ("open", "write", "fsync", "replace"):
                patch.setattr(module.os, name, step(getattr(os, name)))
            patch.setattr(module.Outside, "store", step(module.Outside.store))
            installation = Installation(site.state, site.roots)
            try:
                for root in site.roots:
                    installation.check_root(root)
            except Killed:
                pass
            else:
                steps = cut
        assert site.run(store("x")) == ["ok", "ok"], cut
        if steps:
            break
    assert steps > 20, "it was cut everywhere"


def test_the_store_is_not_made_anew_where_its_disk_should_be(tmp_path):
    site = Site(tmp_path)
    site.run()
    installation = Installation(site.state, site.roots)
    inside, outside = site.state / "store", tmp_path / "disk/store"
    for store_folder in (inside, outside):
        installation.check_store(store_folder)
        installation.check_store(store_folder)
        assert said(store_folder)["part"] == "store"
        (store_folder / "data").mkdir()
        shutil.rmtree(store_folder)
    installation.check_store(inside)  # deleted, to be made anew
    (inside / FILE).unlink()
    (inside / "data").mkdir()  # deleted, and made by an earlier release, which gives no file
    installation.check_store(inside)
    assert said(inside)["part"] == "store"
    with pytest.raises(NotOurs, match="lae-monitor store rebuild"):
        installation.check_store(outside)
    outside.mkdir()
    with pytest.raises(NotOurs, match="lae-monitor store rebuild"):
        installation.check_store(outside)
    installation.adopt(outside, "store")
    installation.check_store(outside)
    shutil.copy(site.roots[0] / FILE, outside / FILE)
    with pytest.raises(NotOurs, match="is an archive root"):
        installation.check_store(outside)

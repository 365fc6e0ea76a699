"""An archive opens whatever state its roots are in, unless somebody made a mistake that waiting does not mend."""

import asyncio
import errno
import os

import pytest
from archive_oracle import Oracle, on_disk
from faulty_kernel import FaultyKernel, fail
from model_kernel import Disk, ModelKernel

from lae_monitor.archive import Archive, Failed, Reserve
from lae_monitor.archive.hints import listen
from lae_monitor.core.rows import Span


def test_a_root_that_is_no_folder_is_a_mistake(tmp_path, opened):
    (tmp_path / "file").write_text("x")

    async def main():
        for roots in (("file",), ("home", "file"), ("file/below",), ("home", "file/below")):
            with pytest.raises(Failed, match=r"file: |below: "):
                async with opened(*roots):
                    pass

    asyncio.run(main())
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_root_that_is_not_ours_is_a_mistake(code):
    async def main():
        kernel = FaultyKernel(ModelKernel(Disk()), fail(code, "make_folder"), 1)
        with pytest.raises(Failed, match=os.strerror(code)):
            await Archive(["/home"], "p", kernel=lambda _: kernel, reserve=Reserve(size=0)).open()

    asyncio.run(main())


def test_no_root_at_all_is_a_mistake():
    with pytest.raises(Failed, match="no archive root"):
        asyncio.run(Archive([], "p").open())


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ESTALE], ids=errno.errorcode.get)
def test_it_opens_on_roots_in_trouble_and_recovers_by_itself(code, until):
    """All it says until then is no, with the reason."""

    async def main():
        broken = [True]

        def trouble(_kernel, _name, call, args):
            if broken[0]:
                raise OSError(code, os.strerror(code))
            return call(*args)

        class Kernel(FaultyKernel):
            def __getattr__(self, name):
                call = getattr(self._kernel, name)
                return lambda *args: trouble(self, name, call, args)

        archive = Archive(
            ["/home", "/away"],
            "p",
            kernel=lambda _: Kernel(ModelKernel(Disk()), fail(code), 1),
            reserve=Reserve(size=0),
        )
        await archive.open()
        oracle = Oracle()
        for attempt in (
            archive.store("crashes/20261122/x.zip", [b"x"]),
            archive.append("sonar/c/h.csv", b"x\n"),
            archive.replace("incidents/c/incidents/h/latest", b"x\n"),
        ):
            with pytest.raises(Failed if code != errno.ENOSPC else Exception, match=os.strerror(code)) as refused:
                await attempt
            assert refused.value.status == 503
        assert os.strerror(code) in archive.describe()
        broken[0] = False
        await until(lambda: [root["health"] for root in archive.health()] == ["ok", "ok"])
        assert await oracle.store(archive, "crashes/20261122/x.zip", 100)
        assert await oracle.append(archive, "sonar/c/h.csv", 100)
        assert oracle.acknowledged[-1][0].path == "sonar/c/h.csv", "home takes it again"
        await archive.close()

    asyncio.run(main())


def test_a_new_root_is_durable_in_its_parent_and_so_are_the_folders_above_it(tmp_path, opened, monkeypatch):
    synced = set()
    fsync = os.fsync

    def note(fd):
        synced.add(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)

    async def main():
        async with opened("a/b/home"):
            pass
        assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")} <= synced
        synced.clear()
        async with opened("a/b/home"):  # whoever made it may have died before that
            pass
        assert str(tmp_path / "a/b") in synced

    asyncio.run(main())


def test_a_second_process_of_the_same_name_leaves_the_first_ones_files_alone(tmp_path, opened):
    async def main():
        async with opened() as one, one.upload() as upload:
            await upload.write(b"half of it, ")
            async with opened() as other:
                await other.store("crashes/20261122/x.zip", [b"x"])
                await upload.write(b"and the rest")
                await upload.commit("crashes/20261122/y.zip")
        assert on_disk(tmp_path / "home") == {
            "crashes/20261122/x.zip": b"x",
            "crashes/20261122/y.zip": b"half of it, and the rest",
        }

    asyncio.run(main())


def test_what_dead_processes_left_half_done_is_removed_whatever_their_name_was(tmp_path, opened):
    async def main():
        async with opened(process="old"), opened(process="living") as living, living.upload() as upload:
            await upload.write(b"x")
            (tmp_path / "home/.tmp/dead").mkdir()
            for left in ("dead/1", "dead/2", "old/77"):
                (tmp_path / "home/.tmp" / left).write_bytes(b"half")
            async with opened(process="new"):
                left = [path for path in tmp_path.glob("home/.tmp/*/*") if path.name != "lock"]
                assert sorted(path.parent.name for path in left) == ["living", "old"]
            await upload.commit("crashes/20261122/x.zip")

    asyncio.run(main())


def test_everybody_hears_of_what_is_new_and_nobody_waits_for_the_mover(tmp_path, opened):
    socket_path = tmp_path / "mover.sock"

    async def main():
        async with opened(hints=socket_path) as archive:
            await archive.store("crashes/20261122/before.zip", [b"x"])  # nobody listens yet
            listening = listen(socket_path)
            await archive.store("crashes/20261122/x.zip", [b"x"])
            await archive.append("sonar/c/h.csv", b"x\n")
            async with archive.upload() as upload:
                await upload.commit("crashes/20261122/y.zip")
            heard = [listening.recv(4096).decode() for _ in range(3)]
            assert heard == ["crashes/20261122/x.zip", "sonar/c/h.csv", "crashes/20261122/y.zip"]
            for _ in range(3000):  # far more than the mover's queue takes
                archive.hint(Span("sonar/c/h.csv", 0, 2))
            listening.close()
            await archive.store("crashes/20261122/z.zip", [b"x"])

    asyncio.run(main())

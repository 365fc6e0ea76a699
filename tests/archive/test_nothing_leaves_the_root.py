"""No name from outside, and nothing planted in the archive, makes it write or read anywhere but below its root."""

import asyncio
import os
import stat
import string
import tempfile
from contextlib import suppress

import pytest
from archive_oracle import on_disk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lae_monitor.archive import Archive, ArchiveError, Exists, Reserve
from lae_monitor.core.names import ClusterName, CrashId, HostName, LogLabel
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents.wire.names import IncidentName

NAMES = (ClusterName, HostName, LogLabel, IncidentName, CrashId)
SAFE = frozenset(string.ascii_letters + string.digits + "._-+:")

nasty = st.sampled_from(
    [
        "", ".", "..", "...", "/", "//", "../", "/etc/passwd", "..\\", "\\", "~", "~root", "-", "-rf", "--", "*", "?", "|",
        ";", "$(id)", "`id`", "\0", "\n", "\r\n", "\t", " ", "%2e%2e%2f", "%00", "\u202e", "\u200b", "\u2066", "\ufeff",
        "\u2024\u2024", "\uff0e\uff0e", "\u2215", "\uff0f", "\ud800", "é", "e\u0301", "ﬁ", "\U0001f600", "CON", "NUL.txt",
        ".tmp", ".ssh", "a.", "a..", "a ", "latest", "x" * 200, "x" * 201, "y" * 255, "z" * 65536, "../" * 100, "a/" * 50,
        "host/../../x", "incident-2026-11-22--09-44-34Z-serjmai", "00000000-0000-4000-8000-000000261122",
    ]
)  # fmt: skip
hostile = st.one_of(
    st.lists(st.one_of(nasty, st.text(max_size=8)), max_size=6).map("".join),
    st.lists(st.one_of(nasty, st.text(max_size=8)), max_size=6).map("/".join),
    st.text(max_size=300),
    st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
    st.from_regex(r"[A-Za-z0-9._/-]{1,80}", fullmatch=True),
)


@settings(max_examples=15)
@given(st.lists(hostile, min_size=20, max_size=20))
@example(["../outside", "a/../../outside", "/tmp/outside", "a\0b", "crashes/" + "x" * 240, "", "x" * 230 + ".json"])
def test_hostile_paths_touch_nothing_outside(names):
    async def main(base):
        archive = await Archive([f"{base}/home"], "p", reserve=Reserve(size=0)).open()
        for name in names:
            await use(archive, name)
            with suppress(Refused):
                await archive.replace(name + "/x", b"x")
        assert archive.health()[0]["health"] == "ok", "a name makes trouble for everybody"
        await archive.close()
        assert os.listdir(base) == ["home"]

    with tempfile.TemporaryDirectory() as base:
        asyncio.run(main(base))


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "file").write_bytes(b"precious\n")
    (folder / "h.csv").write_bytes(b"precious\n")
    yield folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "file": b"precious\n",
        "h.csv": b"precious\n",
    }


async def use(archive, path):
    """Every way to get at `path`; what each of them answered."""

    async def upload():
        async with archive.upload() as upload:
            await upload.write(b"attack\n")
            return await upload.commit(path)

    answers = []
    for attempt in (
        lambda: archive.store(path, [b"attack\n"]),
        lambda: archive.append(path, b"attack\n"),
        upload,
        lambda: archive.read(Span(path, 0, 100)),
        lambda: archive.settle(path),
        lambda: archive.entries(path),
    ):
        try:
            answers.append(await attempt())
        except (Refused, FileNotFoundError) as error:
            answers.append(error)
    return answers


def test_planted_links_to_folders_are_not_followed(tmp_path, opened, victim):
    async def main():
        async with opened() as archive:
            for place in ("sonar", "sonar/c", "crashes/20261122"):
                link = tmp_path / "home" / place
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(victim)
                answers = await use(archive, f"{place}/h.csv")
                assert not any(answer == b"precious\n" for answer in answers)
                assert not any(isinstance(answer, Span) for answer in answers), "written through a link"
                assert await archive.entries(place) == []
                link.unlink()
            assert archive.health()[0]["health"] == "ok"
            await archive.store("crashes/20261122/h.csv", [b"x"])

    asyncio.run(main())


def test_planted_links_to_files_are_not_followed(tmp_path, opened, victim):
    async def main():
        async with opened() as archive:
            await archive.store("sonar/c/x", [b"x"])
            (tmp_path / "home/sonar/c/h.csv").symlink_to(victim / "h.csv")
            (tmp_path / "home/sonar/c/new").symlink_to(tmp_path / "outside")
            for path in ("sonar/c/h.csv", "sonar/c/new"):
                answers = await use(archive, path)
                assert b"precious\n" not in answers
                spans = [answer for answer in answers if isinstance(answer, Span)]
                assert all(span.path != path for span in spans)
                assert not any(isinstance(answer, Exists) for answer in answers), "a link is no report"
            assert {entry.name.split(".")[0] for entry in await archive.entries("sonar/c")} == {"x", "h", "new"}
            assert not (tmp_path / "outside").exists()
            assert archive.health()[0]["health"] == "ok"

    asyncio.run(main())


def test_planted_links_in_the_temporary_folder_are_not_followed(tmp_path, opened, victim):
    (tmp_path / "home/.tmp").mkdir(parents=True)
    (tmp_path / "home/.tmp/p").symlink_to(victim)

    async def main():
        async with opened() as archive:
            with pytest.raises(ArchiveError):
                await archive.store("crashes/20261122/x.zip", [b"x"])
            os.unlink(tmp_path / "home/.tmp/p")
            await archive.roots[0].probe()
            await archive.store("crashes/20261122/x.zip", [b"x"])
            # And what a later start finds there is not followed either.
            (tmp_path / "home/.tmp/other").symlink_to(victim)
            (tmp_path / "home/.tmp/p/1").symlink_to(victim / "file")
        async with opened():
            assert not os.path.lexists(tmp_path / "home/.tmp/p/1")

    try:
        asyncio.run(main())
    except ArchiveError as refused:  # it may also refuse to start
        assert refused.code == "archive_failed"


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket"])
def test_what_is_no_file_is_neither_read_nor_written_nor_taken_for_a_report(tmp_path, opened, kind):
    async def main():
        async with opened() as archive:
            await archive.store("sonar/c/x", [b"x"])
            place = tmp_path / "home/sonar/c/h.csv"
            if kind == "pipe":
                os.mkfifo(place)
            elif kind == "folder":
                place.mkdir()
            else:
                import socket

                with socket.socket(socket.AF_UNIX) as made:
                    made.bind(str(place))
            answers = await asyncio.wait_for(use(archive, "sonar/c/h.csv"), 60)
            assert not any(isinstance(answer, Exists) for answer in answers), f"a {kind} is no report"
            assert all(answer.path != "sonar/c/h.csv" for answer in answers if isinstance(answer, Span))
            assert archive.health()[0]["health"] == "ok"

    asyncio.run(main())


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_are_ours_alone(tmp_path, opened, mask):
    async def main():
        async with opened("deep/er/home") as archive:
            await archive.store("crashes/20261122/x.zip", [b"x"])
            await archive.append("sonar/c/2026/11/22/h.csv", b"x\n")
            await archive.replace("incidents/c/incidents/h/latest", b"x\n")
            async with archive.upload() as upload:
                await upload.write(b"x")
                await upload.commit("crashes/20261122/y.zip")

    before = os.umask(mask)
    try:
        asyncio.run(main())
    finally:
        os.umask(before)
    for path in (tmp_path / "deep").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700


def test_never_over_an_existing_name_whoever_stores_at_the_same_time(tmp_path, opened):
    async def store(archive, path, data):
        try:
            await archive.store(path, [data])
        except Exists:
            return None
        return data

    async def upload(archive, path, data):
        try:
            async with archive.upload() as file:
                await file.write(data)
                await file.commit(path)
        except Exists:
            return None
        return data

    async def main():
        async with opened() as one, opened(process="q") as other:
            for number in range(30):
                path = f"crashes/20261122/{number}.zip"
                attempts = [
                    way(archive, path, b"%d" % serial)
                    for serial, (way, archive) in enumerate([(w, a) for w in (store, upload) for a in (one, other)] * 4)
                ]
                results = await asyncio.gather(*attempts)
                [winner] = [result for result in results if result is not None]
                assert (tmp_path / "home" / path).read_bytes() == winner
        assert len(on_disk(tmp_path / "home")) == 30

    asyncio.run(main())

"""`lae-monitor import` takes over old trees: each crash once, under its id, compared; what it cannot read it leaves."""

import errno
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from command_line import lae_monitor
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.core.names import ClusterName, CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import from_zip
from lae_monitor.kinds.crashes.takeover.found import find
from lae_monitor.kinds.crashes.takeover.importer import adopt, packed
from lae_monitor.kinds.crashes.takeover.old import Broken

ONE = "0bba929f-8721-460c-8e70-a43c92261122"
TWO = "1cca929f-8721-460c-8e70-a43c90261122"
BOTH = (ONE, TWO)


class Importing:
    """The command, as somebody would type it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[state]\npath = "{folder}/state"\n[archive]\nreserve = "1 MiB"\n[fleet]\nname = "mlx"\n'
        )
        self.old = folder / "old"

    def run(self, *arguments, path=None):
        words = ["import", "--json", "--config", self.config, *arguments, path or self.old]
        done = lae_monitor(*map(str, words))
        answer = json.loads(done.stdout) if done.stdout else {}
        return done.returncode, answer

    def stored(self, crash_id):
        path = self.folder / "state/archive/crashes" / f"20{crash_id[-6:]}" / f"{crash_id}.zip"
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as packed_:
            found = {name: packed_.read(name) for name in packed_.namelist()}
        return json.loads(found.pop("raw_crash.json")), found

    def left(self):
        return sorted(
            str(path.relative_to(self.old)) for path in self.old.rglob("*") if path.is_symlink() or path.is_file()
        )

    # ---- old trees, written as they are described ------------------------------------------------------------------

    def write(self, path, data):
        target = self.old / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return target

    def antenna(self, crash_id, document, dumps):
        day = f"20{crash_id[-6:]}"
        self.write(f"{day}/dump_names/{crash_id}.json", sorted(dumps))
        for name, data in dumps.items():
            self.write(f"{day}/{name}/{crash_id}", data)
        self.write(f"{day}/raw_crash/{crash_id}.json", document)

    def socorro(self, crash_id, document, dumps, style, day=None, slot="07/08_14"):
        day = day or f"20{crash_id[-6:]}"
        depth = int(crash_id[-7]) or 4
        parts = ["name", *(crash_id[2 * number : 2 * number + 2] for number in range(depth))]
        parts += [crash_id] if style == "new" else []
        folder = "/".join([day, *parts])
        for name, data in dumps.items():
            middle = "" if name == "upload_file_minidump" else f".{name}"
            self.write(f"{folder}/{crash_id}{middle}.dump", data)
        self.write(f"{folder}/{crash_id}.json", document)
        back = self.old / folder / ("date_root" if style == "new" else crash_id)
        back.symlink_to("../" * len(parts) + f"date/{slot}")
        link = self.old / day / "date" / slot / crash_id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("../" * (2 + len(Path(slot).parts) - 1) + "/".join(parts))


@pytest.fixture
def importing(tmp_path):
    return Importing(tmp_path)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def antenna_document(crash_id, dumps):
    return {
        "ProductName": "Firefox",
        "submitted_timestamp": "2026-11-22T10:11:12.123456+00:00",
        "uuid": crash_id,
        "version": 2,
        "metadata": {
            "payload": "multipart",
            "collector_notes": ["a note"],
            "dump_checksums": {name: sha256(data) for name, data in dumps.items()},
            "user_agent": "x",
            "throttle_rule": "accept_everything",
        },
    }


def socorro_document(crash_id, dumps):
    return {
        "ProductName": "Firefox",
        "submitted_timestamp": "2026-11-22T10:11:12.123456",
        "timestamp": 1795000000.5,
        "uuid": crash_id,
        "legacy_processing": 1,
        "throttle_rate": 10,
        "type_tag": "bp",
        "dump_checksums": {name: hashlib.md5(data).hexdigest() for name, data in dumps.items()},
    }


DUMPS = {"upload_file_minidump": b"MDMP" + bytes(range(256)), "upload_file_minidump_browser": b"b"}


def write_tree(importing, layout, crash_id, dumps=DUMPS):
    if layout == "antenna":
        importing.antenna(crash_id, antenna_document(crash_id, dumps), dumps)
    else:
        importing.socorro(crash_id, socorro_document(crash_id, dumps), dumps, layout)


LAYOUTS = ("antenna", "legacy", "new")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("named", [True, False], ids=["named", "auto"])
def test_every_crash_is_stored_as_the_collector_would_have(importing, layout, named):
    for crash_id in BOTH:
        write_tree(importing, layout, crash_id)
    before = importing.left()
    name = "antenna" if layout == "antenna" else "socorro"
    code, answer = importing.run(*(["--layout", name] if named else []), "--host", "node7")
    assert (code, answer["imported"], answer["unreadable"]) == (0, 2, [])
    assert importing.left() == before
    for crash_id in BOTH:
        document, dumps = importing.stored(crash_id)
        assert dumps == DUMPS
        assert (document["uuid"], document["version"], document["ProductName"]) == (crash_id, 2, "Firefox")
        assert document["submitted_timestamp"] == "2026-11-22T10:11:12.123456+00:00"
        metadata = document["metadata"]
        assert (metadata["cluster"], metadata["host"]) == ("mlx", "node7")
        assert metadata["dump_checksums"] == {name: sha256(data) for name, data in DUMPS.items()}
        assert metadata["collector_notes"][-1].startswith("imported from ")
        if layout == "antenna":
            assert metadata["collector_notes"][0] == "a note"
            assert metadata["throttle_rule"] == "accept_everything"
        else:
            assert metadata["legacy_processing"] == 1


def test_the_reader_of_the_timeline_understands_it(importing):
    from lae_monitor.kinds.crashes.read import read

    write_tree(importing, "legacy", ONE)
    importing.run()
    path = f"crashes/20261122/{ONE}.zip"
    data = (importing.folder / "state/archive" / path).read_bytes()
    (event,) = read(Span(path, 0, len(data)), data)
    assert (event.id, event.cluster, event.host) == (ONE, "mlx", "imported")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_twice_is_once(importing, layout):
    write_tree(importing, layout, ONE)
    importing.run()
    before = importing.stored(ONE)
    code, answer = importing.run()
    assert (code, answer["imported"], answer["already"]) == (0, 0, 1)
    assert importing.stored(ONE) == before


def test_move_says_what_retention_would_take_within_a_month_and_asks(importing):
    """Of a tree of 2016 nothing may go that the archive will not keep either."""
    old = ONE[:-6] + "160102"
    importing.socorro(old, socorro_document(old, DUMPS), DUMPS, "legacy")
    before = importing.left()
    fine = importing.config.read_text()
    for more, words in (
        ("[retention]\ncrashes = '20d'\n", "all 1 of Firefox go after 20d (retention.crashes)"),
        (
            "[gatherers.crashes]\nproduct_retention = {Firefox = '1w'}\n",
            "all 1 of Firefox go after 7d (product_retention)",
        ),
        ("[gatherers.crashes]\nmax_kept = '10 B'\n", "go at once, the oldest first (max_kept = 10 B)"),
    ):
        importing.config.write_text(fine + more)
        code, answer = importing.run("--move")
        assert code == 2
        assert answer["error"].startswith("nothing was imported: within a month, ")
        assert words in answer["error"]
        assert importing.left() == before
    importing.config.write_text(fine + "[retention]\ncrashes = '20d'\n")
    code, answer = importing.run("--move", "--yes")
    assert (code, answer["imported"], answer["removed"], importing.left()) == (0, 1, 1, [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_move_takes_crashes_and_links_away_and_nothing_else(importing, layout):
    for crash_id in BOTH:
        write_tree(importing, layout, crash_id)
    importing.write("20261122/notes", b"keep")
    importing.write("20261121/other/file", b"keep")
    code, answer = importing.run("--move")
    assert (code, answer["imported"], answer["removed"]) == (0, 2, 2)
    assert importing.left() == ["20261121/other/file", "20261122/notes"]
    assert not list(importing.old.glob("20261122/name")) and not list(importing.old.glob("20261122/raw_crash"))
    assert importing.stored(ONE)[1] == DUMPS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_move_also_takes_away_what_was_imported_before(importing, layout):
    write_tree(importing, layout, ONE)
    importing.run()
    code, answer = importing.run("--move")
    assert (code, answer["already"], answer["removed"], importing.left()) == (0, 1, 1, [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_move_that_was_killed_goes_on(importing, layout):
    write_tree(importing, layout, ONE)
    importing.run()
    dump_of(importing, b"b").unlink()
    code, answer = importing.run("--move")
    assert (code, answer["removed"], importing.left()) == (0, 1, [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_move_that_was_killed_just_before_the_raw_crash_went_goes_on(importing, layout):
    write_tree(importing, layout, ONE)
    raw = raw_of(importing)
    others = [path for path in importing.old.rglob("*") if path != raw and (path.is_symlink() or path.is_file())]
    kept = {path: path.read_bytes() for path in others if not path.is_symlink()}
    for path in others:
        path.unlink()
    assert importing.run("--move")[0] == 1, "nobody has its dumps"
    assert importing.left() == [str(raw.relative_to(importing.old))]
    for path, data in kept.items():
        path.write_bytes(data)
    assert importing.run()[0] == 0
    for path in kept:
        path.unlink()
    code, answer = importing.run("--move")
    assert (code, answer["removed"], importing.left()) == (0, 1, [])


@pytest.mark.parametrize("layout", ["antenna", "legacy"])
def test_a_move_that_is_killed_again_and_again_loses_nothing(importing, layout):
    ids = [f"0bba929f-8721-460c-8e70-{number:05x}2261122" for number in range(150)]
    for crash_id in ids:
        write_tree(importing, layout, crash_id)
    # Begun once and forked for each run: the imports would take longer than all the rest.
    driver = (
        "import os, signal, sys, time\n"
        "from lae_monitor.cli import main\n"
        "import lae_monitor.kinds.crashes.takeover.importer, lae_monitor.process.running\n"
        "for wait in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        main()\n"
        "    time.sleep(wait)\n"
        "    os.kill(child, signal.SIGKILL)\n"
        "    os.waitpid(child, 0)\n"
    )
    command = [sys.executable, "-c", driver, "import", "--move", "--json", "--config", importing.config, importing.old]
    subprocess.run(list(map(str, command)), capture_output=True, timeout=120, check=True)
    code, answer = importing.run("--move") if importing.left() else (0, {"unreadable": []})
    assert (code, answer["unreadable"]) == (0, [])
    assert importing.left() == []
    for crash_id in ids:
        assert importing.stored(crash_id)[1] == DUMPS


def test_a_dry_run_changes_nothing(importing):
    write_tree(importing, "antenna", ONE)
    before = importing.left()
    code, answer = importing.run("--dry-run", "--move")
    assert (code, answer["imported"], answer["removed"]) == (0, 1, 0)
    assert importing.left() == before
    assert not (importing.folder / "state/archive/crashes").exists()


def dump_of(importing, data):
    files = [path for path in importing.old.rglob("*") if path.is_file() and ONE in path.name]
    return next(path for path in files if path.read_bytes() == data)


def break_sha(importing, layout):
    dump_of(importing, DUMPS["upload_file_minidump"]).write_bytes(b"MDMP another")


def break_json(importing, layout):
    raw_of(importing).write_bytes(b'{"half": ')


def break_dump_missing(importing, layout):
    dump_of(importing, b"b").unlink()


def break_raw_missing(importing, layout):
    raw_of(importing).unlink()


def break_list(importing, layout):
    raw_of(importing).write_bytes(b"[]")


def break_uuid(importing, layout):
    raw = raw_of(importing)
    raw.write_bytes(raw.read_bytes().replace(ONE.encode(), TWO.encode()))


def break_raw_is_a_link(importing, layout):
    raw = raw_of(importing)
    raw.unlink()
    raw.symlink_to("/etc/passwd")


def raw_of(importing):
    return next(
        path for path in importing.old.rglob(f"{ONE}.json") if path.parent.name != "dump_names" and path.is_file()
    )


BREAKS = (
    break_sha, break_json, break_dump_missing, break_raw_missing, break_list, break_uuid, break_raw_is_a_link
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", BREAKS)
def test_what_cannot_be_read_is_named_and_left_where_it_is(importing, layout, how):
    write_tree(importing, layout, ONE)
    write_tree(importing, layout, TWO)
    how(importing, layout)
    before = [path for path in importing.left() if ONE in path]
    code, answer = importing.run("--move")
    assert (code, answer["imported"], answer["removed"]) == (1, 1, 1)
    assert answer["unreadable"] and all(ONE in item["where"] for item in answer["unreadable"])
    assert importing.left() == before
    assert not (importing.folder / f"state/archive/crashes/20261122/{ONE}.zip").exists()


def test_names_that_lead_elsewhere_are_not_followed(importing):
    write_tree(importing, "antenna", ONE)
    secret = importing.folder / "secret"
    secret.write_bytes(b"secret")
    importing.write(f"20261122/dump_names/{ONE}.json", ["../../../secret", "upload_file_minidump"])
    code, answer = importing.run("--move")
    assert (code, answer["imported"]) == (1, 0)
    assert secret.exists()


def test_another_crash_of_that_id_in_the_archive_is_told_and_both_stay(importing):
    write_tree(importing, "antenna", ONE)
    importing.run()
    before = importing.stored(ONE)
    dumps = {"upload_file_minidump": b"MDMP other"}
    importing.antenna(ONE, antenna_document(ONE, dumps), dumps)
    left = importing.left()
    code, answer = importing.run("--move")
    assert (code, answer["removed"]) == (1, 0)
    assert "another crash of this id" in answer["unreadable"][0]["why"]
    assert (importing.stored(ONE), importing.left()) == (before, left)


def test_slots_of_web_heads_and_days_of_the_month(importing):
    importing.socorro(ONE, socorro_document(ONE, DUMPS), DUMPS, "legacy", day="22", slot="07/08_14/webhead1")
    code, answer = importing.run("--move")
    assert (code, answer["imported"], importing.left()) == (0, 1, [])


def test_a_single_day_and_a_link_that_leads_to_nothing(importing):
    write_tree(importing, "legacy", ONE)
    link = importing.old / "20261122/date/01/01_01" / TWO
    link.parent.mkdir(parents=True)
    link.symlink_to("../../../name/1c")
    code, answer = importing.run(path=importing.old / "20261122")
    assert (code, answer["imported"]) == (1, 1)
    assert [item["why"] for item in answer["unreadable"]] == ["this link leads to no crash"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tar_files(importing, world, suffix):
    for number in range(3):
        world.put(day=f"26112{number}")
    world.run(config.Tar(folder=importing.old))
    if suffix == ".tar.gz":
        for path in list(importing.old.iterdir()):
            (importing.old / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    code, answer = importing.run("--move")
    assert (code, answer["imported"], answer["removed"]) == (0, 3, 0), "a tar file stays"
    for crash in world.crashes:
        assert importing.stored(crash.id)[1] == crash.dumps
    path = next(importing.old.iterdir())
    path.write_bytes(path.read_bytes()[:-700] if suffix == ".tar.gz" else path.read_bytes()[:1500])
    assert importing.run(path=path)[0] == 1


@pytest.mark.parametrize("destination", ["antenna", "legacy", "new"])
def test_what_we_wrote_ourselves_comes_back_as_it_was(importing, world, destination):
    for number in range(4):
        world.put(digit=number, Nested={"a": [1, None]}, ünïcode="ß")
    root = importing.old
    world.run(
        config.Antenna(fs_root=root) if destination == "antenna" else config.Socorro(fs_root=root, style=destination)
    )
    code, answer = importing.run("--move")
    assert (code, answer["imported"], importing.left()) == (0, 4, [])
    for crash in world.crashes:
        document, dumps = importing.stored(crash.id)
        assert dumps == crash.dumps
        assert {name: document[name] for name in crash.document if name != "metadata"} == {
            name: value for name, value in crash.document.items() if name != "metadata"
        }
        assert (document["metadata"]["host"], document["metadata"]["cluster"]) == ("node1", "lae")


def test_a_full_archive_ends_it_and_nothing_is_removed_that_it_did_not_take(importing):
    write_tree(importing, "antenna", ONE)
    before = importing.left()
    importing.config.write_text(importing.config.read_text().replace('"1 MiB"', '"9000 TiB"'))
    code, answer = importing.run("--move")
    assert (code, answer["imported"], answer["removed"]) == (75, 0, 0)
    assert "no_space" in answer["error"]
    assert importing.left() == before


def test_nothing_that_looks_like_crashes_is_a_usage_error(importing):
    importing.write("some/file", b"x")
    assert importing.run()[0] == 2
    assert importing.run(path=importing.folder / "missing")[0] == 2


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: another account's state folder. Needs root")
def test_root_writes_as_the_owner_of_the_state_folder_and_reads_as_root(importing):
    write_tree(importing, "antenna", ONE)
    importing.old.chmod(0o700)
    importing.folder.chmod(0o755)
    for parent in importing.folder.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    state = importing.folder / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    code, answer = importing.run("--move")
    assert (code, answer["imported"], importing.left()) == (0, 1, [])
    assert {path.stat().st_uid for path in state.rglob("*")} == {65534}


# ---- anything at all -----------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OURS = st.sampled_from(
    ["metadata", "uuid", "version", "submitted_timestamp", "timestamp", "dump_checksums", "legacy_processing", "x"]
)
METADATA = st.sampled_from(["cluster", "host", "collector_notes", "dump_checksums", "replaced", "filenames", "payload"])
documents = st.dictionaries(OURS, json_values | st.dictionaries(METADATA, json_values, max_size=4), max_size=6)


@given(
    documents,
    st.dictionaries(st.text(max_size=5) | st.just("upload_file_minidump"), st.binary(max_size=20), max_size=3),
)
def test_whatever_an_old_crash_says_it_is_adopted_readably_or_refused(document, dumps):
    from lae_monitor.kinds.crashes.read import read

    crash_id = CrashId(ONE)
    raw = json.dumps(document).encode()
    try:
        crash = adopt(crash_id, raw, dumps, where="somewhere", cluster=ClusterName("c"), host=None)
    except Refused as refused:
        assert refused.code == "unreadable"
        return
    data = b"".join(packed(crash))
    back = from_zip(crash_id, data)
    assert {name: bytes(content) for name, content in back.dumps.items()} == dumps
    assert back.checksum == crash.checksum
    (event,) = read(Span("crashes/x", 0, len(data)), data)
    assert event.id == ONE
    again = adopt(crash_id, back.raw, dumps, where="somewhere", cluster=ClusterName("c"), host=None)
    assert again.document["submitted_timestamp"] == crash.document["submitted_timestamp"]


@given(st.binary(max_size=300))
def test_whatever_a_raw_crash_holds_it_is_refused_or_adopted(raw):
    try:
        adopt(CrashId(ONE), raw, {}, where="somewhere", cluster=ClusterName("c"), host=None)
    except Refused as refused:
        assert refused.code == "unreadable"


@given(st.data())
def test_a_damaged_zip_is_never_taken_for_a_whole_crash(data):
    crash_id = CrashId(ONE)
    crash = adopt(crash_id, b'{"a": "b"}', dict(DUMPS), where="w", cluster=ClusterName("c"), host=None)
    whole = b"".join(packed(crash))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [whole[:at], whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :]]
        )
    )
    try:
        found = from_zip(crash_id, damaged)
    except Refused:
        return
    assert found.checksum == crash.checksum, "only what does not count may have changed"


@given(st.binary(max_size=3000), st.booleans())
def test_whatever_a_tar_file_holds_reading_it_ends(tmp_path_factory, content, wrapped):
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    if wrapped:
        with tarfile.open(path, "w") as tar:
            for name in (f"{ONE}.json", f"{ONE}.dump", f"a/{TWO}.json", f"{ONE}..dump", "x"):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        damaged = bytearray(path.read_bytes())
        damaged[: len(content) // 8] = content[: len(content) // 8]
        path.write_bytes(damaged)
    else:
        path.write_bytes(content)
    for item in find(path, "tar"):
        if not isinstance(item, Broken):
            try:
                raw, dumps = item.read()
            except OSError:
                continue
            assert all(isinstance(data, bytes) for data in (raw, *dumps.values()))


def test_entries_are_what_the_zip_holds():
    crash = adopt(CrashId(ONE), b"{}", dict(DUMPS), where="w", cluster=ClusterName("c"), host=None)
    assert list(entries(b"".join(packed(crash)))) == [*sorted(DUMPS), "raw_crash.json"]


# ---- what is there and may not be looked into ----------------------------------------------------------------------


def forbid(monkeypatch, path):
    """As the kernel does it to others than root."""
    scandir = os.scandir

    def looked_into(folder):
        if Path(folder) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", looked_into)


@pytest.mark.parametrize(
    ("layout", "folder"),
    [
        ("legacy", "20261122"),
        ("legacy", "20261122/name/0b"),
        ("new", f"20261122/name/0b/ba/{ONE}"),
        ("legacy", "20261122/date/07"),
        ("antenna", "20261122"),
        ("antenna", "20261122/raw_crash"),
        ("antenna", "20261122/dump_names"),
    ],
)
def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_taken(importing, monkeypatch, layout, folder):
    write_tree(importing, layout, ONE)
    other = TWO.replace("261122", "261123")
    write_tree(importing, layout, other)
    forbid(monkeypatch, importing.old / folder)
    found = list(find(importing.old, "auto"))
    assert other in [item.crash_id for item in found if not isinstance(item, Broken)]
    assert Broken(str(importing.old / folder), "Permission denied") in found


@pytest.mark.parametrize(
    ("layout", "folder"),
    [
        ("antenna", "20261122"),
        ("legacy", "20261122"),
        ("legacy", "20261122/name/0b"),
        ("legacy", "20261122/name/0b/ba"),
        ("new", f"20261122/name/0b/ba/{ONE}"),
    ],
)
def test_a_folder_that_is_a_link_is_named(importing, layout, folder):
    write_tree(importing, layout, ONE)
    elsewhere = importing.folder / "elsewhere"
    (importing.old / folder).rename(elsewhere)
    (importing.old / folder).symlink_to(elsewhere)
    code, answer = importing.run("--move")
    assert (code, answer["imported"]) == (1, 0)
    assert {"where": str(importing.old / folder), "why": "is a link; import what it leads to by itself"} in answer[
        "unreadable"
    ]


@pytest.mark.parametrize("name", [".my dump.dump", ".-odd.dump", "_x.dump", ".upload_file_minidump.dump"])
@pytest.mark.parametrize("layout", ["legacy", "new", "tar"])
def test_a_dump_with_an_odd_name_keeps_its_crash_where_it_is(importing, layout, name):
    importing.socorro(ONE, socorro_document(ONE, DUMPS), DUMPS, "new" if layout == "new" else "legacy")
    folder = raw_of(importing).parent
    (folder / f"{ONE}{name}").write_bytes(b"odd")
    path = importing.old
    if layout == "tar":
        path = importing.folder / "some.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(folder, "")
    before = importing.left()
    code, answer = importing.run("--move", path=path)
    assert (code, answer["imported"], answer["removed"], importing.left()) == (1, 0, 0, before)
    assert answer["unreadable"][0]["why"] == f"name of a dump: {ONE}{name}"

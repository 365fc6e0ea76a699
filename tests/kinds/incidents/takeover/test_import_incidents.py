"""`lae-monitor import` takes over what flogtool's gatherer has: each incident once, under its host, as it is."""

import bz2
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import lae_monitor

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.takeover.folders import Broken, find, tell

sys.path.insert(0, str(Path(__file__).parents[1]))

from flogtool_gatherer import Flogtool, publisher, tub_ids
from gatherer_process import Process, await_that, free_port

STORAGE, INTRODUCER = 3, 2  # starts of the two nodes, with an incident each


@pytest.fixture(scope="module")
def processes():
    begun = []
    yield begun
    for process in begun:
        process.kill()


@pytest.fixture(scope="module")
def flogtool(tmp_path_factory, processes):
    """A gatherer of flogtool's that was stopped, after two nodes had reported to it over several restarts."""
    folder = tmp_path_factory.mktemp("stock")

    def run(command, name):
        processes.append(Process(command, folder / "out", f"{name}-{len(processes)}"))
        return processes[-1]

    made = Flogtool(folder / "gatherer", free_port(), run, await_that).start()
    made.live(folder / "storage", STORAGE, "tcp:storage7.example:3456")
    made.live(folder / "introducer", INTRODUCER)
    made.stop()
    return made


class Importing:
    """The command, as somebody would type it."""

    def __init__(self, folder: Path, old: Path) -> None:
        self.old = old
        self.state = folder / "state"
        self.config = folder / "config.toml"
        self.config.write_text(f'[state]\npath = "{self.state}"\n[archive]\nreserve = "1 MiB"\n')

    def command(self, *arguments, path=None):
        words = [sys.executable, "-m", "lae_monitor", "--config", self.config, "import", *arguments, path or self.old]
        return list(map(str, words))

    def run(self, *arguments, path=None):
        done = lae_monitor(*self.command("--json", *arguments, path=path)[3:])
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def stored(self):
        """Bytes by host and name."""
        top = self.state / "archive/incidents/lae/incidents"
        return {
            f"{path.parent.name}/{path.name.removesuffix('.flog.bz2')}": path.read_bytes()
            for path in top.glob("*/*.flog.bz2")
        }

    def receipts(self):
        files = self.state.glob("archive/journal/*/*/*/*.jsonl")
        lines = [line for path in files for line in path.read_text().splitlines()]
        return [entry for entry in map(json.loads, lines) if entry["what"] == "receipt"]


@pytest.fixture
def importing(tmp_path, flogtool):
    """On a copy, which a test may spoil."""
    shutil.copytree(flogtool.folder, tmp_path / "old", symlinks=True)
    return Importing(tmp_path, tmp_path / "old")


def copies(folder, name):
    """The files of an incident, the one that was received first before the others."""

    def received(path):
        return json.loads(bz2.decompress(path.read_bytes()).splitlines()[2])["rx_time"]

    return sorted(folder.glob(f"incidents/*/{name}.flog.bz2"), key=received)


# ---- each once, under its host -------------------------------------------------------------------------------------


def test_the_real_tree_has_a_copy_for_every_restart(flogtool):
    assert len(flogtool.names()) == STORAGE + INTRODUCER
    assert len(flogtool.files()) == sum(range(STORAGE + 1)) + sum(range(INTRODUCER + 1))
    assert len(tub_ids(flogtool.folder)) == STORAGE + INTRODUCER


def test_each_incident_is_stored_once_as_it_was_received_first_under_its_host(importing, flogtool):
    code, answer = importing.run()
    assert code == 0, answer
    stored = importing.stored()
    assert sorted(key.partition("/")[2] for key in stored) == flogtool.names()
    for key, data in stored.items():
        assert data == copies(importing.old, key.partition("/")[2])[0].read_bytes()
    hosts = {key.partition("/")[0] for key in stored}
    (unnamed,) = hosts - {"storage7.example"}
    assert unnamed.removeprefix("tub-") in {tub[:8] for tub in tub_ids(flogtool.folder)}
    assert sum(key.startswith("storage7.example/") for key in stored) == STORAGE
    assert answer["copies"] == len(flogtool.files()) - len(stored)
    receipts = importing.receipts()
    assert sorted(entry["id"] for entry in receipts) == flogtool.names()
    assert {(entry["verdict"], entry["kind"], entry["cluster"]) for entry in receipts} == {
        ("accepted", "incident", "lae")
    }
    assert {entry["host"] for entry in receipts} == hosts


def test_again_nothing_is_new_and_nothing_is_changed(importing):
    importing.run()
    before = importing.stored()
    code, answer = importing.run()
    assert (code, answer["imported"], answer["already"]) == (0, 0, STORAGE + INTRODUCER)
    assert importing.stored() == before
    assert len(importing.receipts()) == len(before)


def test_of_copies_the_first_that_was_received_is_taken_whatever_its_folder(importing, tmp_path):
    for number, received in enumerate([3.0, 1.0, 2.0]):
        tub = tmp_path / "copies/incidents" / ("abc"[number] * 32)
        tub.mkdir(parents=True)
        (tub / f"{NAME}.flog.bz2").write_bytes(bz2.compress(flog([{"rx_time": received, "d": {"message": "x"}}])))
    code, answer = importing.run("--host", "node1", path=tmp_path / "copies")
    assert (code, answer["imported"], answer["copies"]) == (0, 1, 2)
    first = (tmp_path / f"copies/incidents/{'b' * 32}/{NAME}.flog.bz2").read_bytes()
    assert importing.stored() == {f"node1/{NAME}": first}


def test_what_is_there_under_another_host_is_not_stored_once_more(importing):
    importing.run()
    before = importing.stored()
    code, answer = importing.run("--host", "other")
    assert (code, answer["imported"], answer["already"]) == (0, 0, STORAGE + INTRODUCER)
    assert importing.stored() == before


def test_a_dry_run_shows_the_plan_and_stores_nothing(importing):
    done = subprocess.run(importing.command("--dry-run"), capture_output=True, text=True, timeout=120, check=True)
    head, *rows, last = done.stdout.splitlines()
    assert head.split() == ["host", "because", "incidents", "copies", "bad", "TubIDs"]
    assert len(rows) == 2
    assert any(row.startswith("storage7.example") and "the node says so" in row for row in rows)
    assert last.startswith(f"would be: {STORAGE + INTRODUCER} imported")
    assert "--map" in done.stderr
    assert importing.stored() == {}
    assert importing.receipts() == []


def test_the_old_tree_is_only_read(importing):
    before = Flogtool.state(flogtool_at(importing.old))
    importing.run()
    assert Flogtool.state(flogtool_at(importing.old)) == before


def flogtool_at(folder):
    found = Flogtool.__new__(Flogtool)
    found.folder = folder
    return found


# ---- whose they are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "toml"])
def test_a_map_names_hosts_by_any_tub_id_or_by_the_name_that_the_plan_shows(importing, tmp_path, form):
    _, plan = importing.run("--dry-run")
    nodes = {node["host"]: node for node in plan["nodes"]}
    (unnamed,) = nodes.keys() - {"storage7.example"}
    pairs = {nodes["storage7.example"]["tubs"][-1][:8]: "store1", unnamed: "intro1"}
    file = tmp_path / f"hosts.{form}"
    lines = (f"{tub},{host}\n" for tub, host in pairs.items())
    toml = (f'{tub} = "{host}"\n' for tub, host in pairs.items())
    file.write_text("# nodes\n" + "".join(toml) if form == "toml" else "tub,host\n" + "".join(lines))
    code, answer = importing.run("--map", file)
    assert code == 0, answer
    assert {key.partition("/")[0] for key in importing.stored()} == {"store1", "intro1"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("{0},a\n{1},b\n", "are the same node, since they share an incident"),
        ("{0},../../etc\n", "line 1: bad_host_name"),
        ("{0}\n", "line 1: a TubID, a comma and a host are wanted"),
        ("{0},a\n{0},b\n", "is there twice"),
    ],
)
def test_a_map_that_cannot_be_right_stops_before_anything_is_stored(importing, tmp_path, lines, said):
    _, plan = importing.run("--dry-run")
    tubs = next(node["tubs"] for node in plan["nodes"] if node["host"] == "storage7.example")
    (tmp_path / "hosts.csv").write_text(lines.format(*tubs))
    code, answer = importing.run("--map", tmp_path / "hosts.csv")
    assert code == 2
    assert said in answer["error"]
    assert importing.stored() == {}


def test_what_a_map_says_of_nobody_is_told(importing, tmp_path):
    (tmp_path / "hosts.csv").write_text("aaaaaaaabbbb,store1\n")
    code, answer = importing.run("--map", tmp_path / "hosts.csv")
    assert (code, answer["unused"], answer["imported"]) == (1, ["aaaaaaaabbbb"], STORAGE + INTRODUCER)


def test_one_host_for_all(importing):
    importing.run("--host", "old")
    assert {key.partition("/")[0] for key in importing.stored()} == {"old"}


def test_a_node_whose_incidents_are_there_already_is_that_host(importing, flogtool):
    """As when its gatherer ran before the import, or an import was interrupted before the node was given its name."""
    (first, *_) = [path for path in flogtool.files() if b"of storage" in bz2.decompress(path.read_bytes())]
    host = importing.state / "archive/incidents/lae/incidents/node1"
    host.mkdir(parents=True)
    shutil.copy(first, host)
    code, answer = importing.run()
    assert (code, answer["already"]) == (0, 1)
    assert sum(key.startswith("node1/") for key in importing.stored()) == STORAGE


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("b'tcp:storage7.example:3456'", "storage7.example"),
        ("'tcp:127.0.0.1:3456,tcp:10.0.0.7:3456'", "10.0.0.7"),
        ("b'tor:abcdefgh.onion:80'", "abcdefgh.onion"),
        ("b'tcp:[2001:db8::7]:1'", "2001:db8::7"),
        ("b'tcp:localhost:3456'", ""),
        ("b'UNREACHABLE'", ""),
        ("b'tcp:../../etc:3456'", ""),
    ],
)
def test_a_node_says_where_it_is_reached(location, host):
    event = {"message": f"Tub location set to {location}", "num": 1}
    assert tell("incident-x", flog([{"d": event}])).location == host


def flog(events, trigger=None):
    header = {"header": {"type": "incident", "trigger": trigger or {"num": 1, "incarnation": ["00ff", None]}}}
    return b"# foolscap flogfile v1\n" + b"".join(json.dumps(line).encode() + b"\n" for line in [header, *events])


# ---- what cannot be taken ------------------------------------------------------------------------------------------

NAME = "incident-2026-11-20--10-00-00Z-abcdefg"
BAD = {
    "cut short": bz2.compress(flog([{"d": {}}]))[:-12],
    "cut short in a plain file": flog([{"d": {}}])[:-5],
    "a pickle": b"(dp0\nS'header'\n",
    "empty": b"",
    "a log": b'# foolscap flogfile v1\n{"header": {"type": "gatherer", "start": 1}}\n',
    "an event that is none": bz2.compress(flog([{"d": 5}])),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_named_and_left_and_the_rest_is_taken(importing, data):
    folder = importing.old / "incidents" / tub_ids(importing.old)[0]
    suffix = ".flog" if not data.startswith(b"BZ") else ".flog.bz2"
    bad = folder / f"{NAME}{suffix}"
    bad.write_bytes(data)
    for _ in range(2):
        code, answer = importing.run()
        assert code == 1
        assert [one["where"] for one in answer["unreadable"]] == [str(bad)]
        assert answer["unreadable"][0]["why"]
    assert bad.read_bytes() == data
    assert len(importing.stored()) == STORAGE + INTRODUCER


def test_of_a_copy_that_was_cut_short_another_one_is_taken(importing):
    name = next(name for name in {path.name for path in importing.old.glob("incidents/*/*.bz2")}
                if len(list(importing.old.glob(f"incidents/*/{name}"))) > 1)  # fmt: skip
    first, second, *_ = copies(importing.old, name.removesuffix(".flog.bz2"))
    os.truncate(first, first.stat().st_size - 10)
    code, answer = importing.run()
    assert code == 1
    assert [one["where"] for one in answer["unreadable"]] == [str(first)]
    (stored,) = [data for key, data in importing.stored().items() if key.endswith(name.removesuffix(".flog.bz2"))]
    assert stored == second.read_bytes()


def test_names_that_are_none_and_links_are_named_and_not_followed(importing, tmp_path):
    folder = importing.old / "incidents" / tub_ids(importing.old)[0]
    (tmp_path / "elsewhere").write_bytes(bz2.compress(flog([])))
    (folder / f"{NAME}.flog.bz2").symlink_to(tmp_path / "elsewhere")
    (folder / "incident-\nincident-evil.flog.bz2").write_bytes(bz2.compress(flog([])))
    os.mkfifo(folder / f"{NAME}x.flog")
    code, answer = importing.run()
    assert (code, len(answer["unreadable"])) == (1, 3)
    assert len(importing.stored()) == STORAGE + INTRODUCER
    shown = subprocess.run(importing.command(), capture_output=True, text=True, timeout=120, check=False).stdout
    assert not any(line.startswith("incident-evil") for line in shown.splitlines())


def test_another_incident_of_the_same_name_is_not_thrown_away(importing):
    importing.run()
    key, data = next(iter(importing.stored().items()))
    host, _, name = key.partition("/")
    other = importing.old / f"other/incidents/{'a' * 32}/{name}.flog.bz2"
    other.parent.mkdir(parents=True)
    other.write_bytes(bz2.compress(flog([{"d": {}}], {"num": 99, "incarnation": ["eeee", None]})))
    code, answer = importing.run("--host", host, path=importing.old / "other")
    assert code == 1
    assert "is another incident of this name" in answer["unreadable"][0]["why"]
    assert importing.stored()[key] == data


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_where_nothing_is_that_is_said(importing, tmp_path, what):
    if what == "empty":
        (tmp_path / what).mkdir()
    code, answer = importing.run("--layout", "flogtool", path=tmp_path / what)
    assert code == 2
    assert str(tmp_path / what) in answer["error"]
    assert "gatherer" in answer["next"] or "flogtool" in answer["next"]


def test_what_is_being_written_is_not_taken_yet(tmp_path):
    (tmp_path / f"{NAME}.flog").write_bytes(flog([]))
    (tmp_path / f"{NAME}.flog.bz2.tmp").write_bytes(b"")
    (found,) = find(tmp_path)
    assert isinstance(found, Broken)
    os.utime(tmp_path / f"{NAME}.flog.bz2.tmp", (1, 1))  # left by a node that was killed
    (found,) = find(tmp_path)
    assert not isinstance(found, Broken)


def test_no_bytes_make_reading_fail_otherwise():
    with pytest.raises(Refused, match="unreadable"):
        tell(NAME, os.urandom(100))


# ---- a node's own folder -------------------------------------------------------------------------------------------


def test_a_nodes_own_folder_plain_files_too(importing, flogtool, tmp_path):
    own = tmp_path / "logs"
    shutil.copytree(flogtool.folder.parent / "storage", own)
    packed, plain, *_ = sorted(own.glob("*.flog.bz2"))
    text = bz2.decompress(plain.read_bytes())
    plain.with_suffix("").write_bytes(text)
    plain.unlink()
    code, answer = importing.run("--host", "node1", path=own)
    assert (code, answer["imported"]) == (0, STORAGE), answer
    stored = importing.stored()
    assert stored[f"node1/{packed.name.removesuffix('.flog.bz2')}"] == packed.read_bytes()
    compressed = stored[f"node1/{plain.name.removesuffix('.flog.bz2')}"]
    assert (compressed[:2], bz2.decompress(compressed)) == (b"BZ", text)
    code, answer = importing.run("--host", "node1", path=own)
    assert (code, answer["imported"], answer["already"]) == (0, 0, STORAGE)


# ---- interrupted, beside others ------------------------------------------------------------------------------------


def many(folder, count):
    """A tree with incidents of one node."""
    tub = folder / "incidents" / ("b" * 32)
    tub.mkdir(parents=True)
    for number in range(count):
        data = flog([{"rx_time": 1.0, "d": {"message": "x"}}], {"num": number, "incarnation": ["77ff", None]})
        (tub / f"incident-2026-11-20--10-00-00Z-{number:07}.flog.bz2").write_bytes(bz2.compress(data))
    return folder


def test_killed_in_the_middle_it_goes_on_where_it_was(importing, tmp_path):
    count = 400
    tree = many(tmp_path / "many", count)
    process = Process(importing.command(path=tree), tmp_path / "out", "import")
    try:
        await_that(importing.stored, "something is stored")
    finally:
        process.kill(signal.SIGKILL)
    begun = len(importing.stored())
    code, answer = importing.run(path=tree)
    assert (code, answer["imported"] + answer["already"]) == (0, count)
    assert answer["already"] >= begun
    stored = importing.stored()
    assert len(stored) == count
    originals = {path.name.removesuffix(".flog.bz2"): path.read_bytes() for path in tree.glob("incidents/*/*.bz2")}
    assert {key.partition("/")[2]: data for key, data in stored.items()} == originals


def test_a_full_archive_says_try_again_and_loses_nothing(importing):
    importing.config.write_text(importing.config.read_text().replace("1 MiB", "100000 GiB"))
    code, answer = importing.run()
    assert (code, answer["imported"]) == (75, 0)
    assert "no_space" in answer["error"]
    importing.config.write_text(importing.config.read_text().replace("100000 GiB", "1 MiB"))
    assert importing.run()[0] == 0
    assert len(importing.stored()) == STORAGE + INTRODUCER


def test_what_was_imported_is_not_fetched_again_from_its_node(importing, gatherer, flogtool, tmp_path):
    """The gatherer runs, the import comes, and then the node, with a FURL of its host: all that it has is known."""
    gatherer.start()
    importing.config = gatherer.config
    code, answer = importing.run("--host", "store1", path=flogtool.folder.parent / "storage")
    assert (code, answer["imported"]) == (0, STORAGE), answer
    before = gatherer.names("store1")
    logs = tmp_path / "storage"
    shutil.copytree(flogtool.folder.parent / "storage", logs)
    node = publisher(gatherer.run, gatherer.register("store1").furl.reveal(), logs)
    node.await_output("asked since")
    node.send(message="trouble after the move", level=30)
    gatherer.await_names("store1", STORAGE + 1)
    assert gatherer.fetched("store1") == 1
    (new,) = set(gatherer.names("store1")) - set(before)
    assert f"asked {new}" in node.output()

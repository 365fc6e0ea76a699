"""A real Tahoe-LAFS node with the FURL that the command line made: what it reports is kept as it wrote it, once."""

import bz2
import json
import re
import subprocess

from click.testing import CliRunner
from tahoe_node import BIN, Node

from lae_monitor.cli.group import top


def flogtool_dump(path):
    return subprocess.run(
        [BIN / "flogtool", "dump", "--timestamps=utc", path], check=True, capture_output=True, text=True
    ).stdout


def test_incident_of_a_real_node_is_kept_as_it_wrote_it_and_fetched_once(gatherer):
    answer = CliRunner().invoke(
        top,
        ["--config", str(gatherer.config), "fleet", "register", "incident", "--host", "node1.example", "--print-furl"],
    )
    assert answer.exit_code == 0, answer.output
    furl = answer.stdout.strip()
    gatherer.start()
    node = Node(gatherer, furl)
    node.start()
    gatherer.process.await_log("connected to")
    assert re.search(r"connected to [a-z2-7]{32}, last known incident is $", gatherer.process.log(), re.MULTILINE)

    node.report("flop €")
    (first,) = gatherer.await_names("node1.example", 1)
    assert f"fetching incident {first}" in gatherer.process.log()
    assert node.incidents() == [first]
    stored = gatherer.folder_of("node1.example") / f"{first}.flog.bz2"
    own = node.folder / "logs/incidents" / f"{first}.flog.bz2"
    ours, theirs = flogtool_dump(stored), flogtool_dump(own)
    tub_id = gatherer.lines("node1.example", first)[1]["from"]
    assert "flop €" in ours
    assert "[INCIDENT-TRIGGER]" in ours
    assert ours.replace(f"{tub_id[:8]}#", "local#") == theirs
    header, *events = gatherer.lines("node1.example", first)
    own_header, *own_events = map(json.loads, _lines(own))
    assert header == own_header
    assert [event["d"] for event in events] == [event["d"] for event in own_events]
    await_cursor(gatherer, first)
    gatherer.await_journal(verdict="accepted", id=first, host="node1.example", cluster="lae")

    node.stop()
    gatherer.process.await_log("connection to")
    node.start()
    gatherer.process.await_log("connected to", 2)
    assert f"last known incident is {first}" in gatherer.process.log()
    node.report("flop again")
    second = gatherer.await_names("node1.example", 2)[1]
    assert node.incidents() == [first, second]
    assert gatherer.lines("node1.example", second)[1]["from"] != tub_id, "the node came back under another TubID"
    assert gatherer.process.log().count("fetching incident") == 2
    await_cursor(gatherer, second)
    gatherer.await_journal(2, verdict="accepted")
    assert [entry["id"] for entry in gatherer.journal(verdict="accepted")] == [first, second]


def await_cursor(gatherer, name):
    latest = gatherer.folder_of("node1.example") / "latest"
    gatherer.await_that(lambda: latest.exists() and latest.read_text() == f"{name}\n", "latest follows what is stored")


def _lines(path):
    return bz2.decompress(path.read_bytes()).splitlines()[1:]

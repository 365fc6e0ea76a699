"""The same mistake is one group, on whatever host and with whatever ids; two mistakes are two. Cases are in cases/groups.toml."""

import bz2
import json
import tomllib
from pathlib import Path

import pytest

from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents import read as reader
from lae_monitor.kinds.incidents.wire import fingerprint as fingerprints
from lae_monitor.kinds.incidents.wire.fingerprint import VERSION, fingerprint

CASES = tomllib.loads((Path(__file__).parent / "cases" / "groups.toml").read_text())["mistake"]
PATH = "incidents/lae/incidents/node1/incident-2026-11-20--10-00-00Z-abcdefg.flog.bz2"


def row(trigger):
    """The row that the reader makes of an incident with this trigger."""
    lines = [{"header": {"type": "incident", "trigger": trigger}}, {"d": trigger, "from": "x", "rx_time": 1795168805.0}]
    data = bz2.compress(b"# foolscap flogfile v1\n" + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    (made,) = reader.read(Span(PATH, 0, len(data)), data)
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_one_mistake_is_one_group(case):
    rows = [
        row({"num": number, "level": 30, "time": 1795168800.0} | trigger)
        for number, trigger in enumerate(case["triggers"])
    ]
    assert len({made.group for made in rows}) == 1, [made.group for made in rows]
    assert {made.attrs["fingerprint"] for made in rows} == {case["by"]}
    assert {made.attrs["fingerprint.version"] for made in rows} == {str(VERSION)}
    assert rows[0].group == case.get("group", rows[0].group)


def test_two_mistakes_are_two_groups():
    groups = {case["name"]: fingerprint(case["triggers"][0]).text for case in CASES}
    assert len(set(groups.values())) == len(CASES), groups


def test_what_a_group_was_called_before_is_told_where_it_was_called_otherwise():
    made = row({"message": "lost 10.0.0.4:51234"})
    assert made.group == "lost <address>"
    assert made.attrs["fingerprint.before"] == "lost <n>.<n>.<n>.<n>:<n>"
    assert "fingerprint.before" not in row({"umid": "LkD9Pw", "message": "lost 10.0.0.4:51234"}).attrs


def test_every_version_before_is_still_known():
    """Without them, what operators decided of their groups would not be found again."""
    assert len(fingerprints.EARLIER) == VERSION - 1

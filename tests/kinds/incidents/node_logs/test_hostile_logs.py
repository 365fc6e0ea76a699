"""Whatever a node logs: flogtool reads the file of the day, and what came before and after it is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.node_logs.following import event_of
from lae_monitor.kinds.incidents.wire.flog import MAGIC

FLOGTOOL = Path(sys.executable).with_name("flogtool")

ODD = (
    {"message": None},
    {"message": ["a", {"b": 1}]},
    {"message": 5, "args": [1]},
    {"message": "%(missing)s", "args": {}},
    {"args": [1]},
    {"format": "%(missing)s"},
    {"format": 5},
    {"format": b"%(x)s", "x": b"\xff"},
    {"format": "%(x)c", "x": 2**70},
    {"format": "%(x)99999999999d", "x": 1},
    {"format": "%", "message": {"a": 1}},
    {"failure": "text"},
    {"failure": {"str": 5, "repr": None, "traceback": ["x"]}},
    {"facility": {"a": 1}, "umid": 5, "parent": [1]},
    {"level": None},
    {"level": "BAD"},
    {"level": [30]},
    {"level": float("nan")},
    {"level": 2**2000},
    {"incarnation": "text"},
    {"incarnation": 5},
    {"incarnation": [["x"]]},
    {b"message": b"of Python 2", b"incarnation": (b"aa", None)},
    {"message": "up\x1b[2Jand\ndown", "x": float("inf"), "y": {b"k": {b"k": b"\xfe"}}},
)


def flogtool(*arguments):
    done = subprocess.run([FLOGTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd)[:40])
def test_flogtool_reads_the_file_of_an_odd_event(tmp_path, odd):
    raws = [
        {"num": number, "time": 1.7e9, "incarnation": ["aa", None], "message": f"plain {number}"} for number in (0, 2)
    ]
    raws.insert(1, {"num": 1, "time": 1.7e9, "incarnation": ["aa", None], **odd})
    lines = [{"header": {"type": "gatherer", "start": 1.7e9}}]
    lines += [{"from": "tub", "rx_time": 1.7e9, "d": event_of(raw)} for raw in raws]
    path = tmp_path / "day.flog"
    path.write_bytes(MAGIC + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    dumped = flogtool("dump", path)
    assert "plain 0" in dumped
    assert "tub#1 " in dumped
    assert "plain 2" in dumped
    filtered = tmp_path / "filtered.flog"
    flogtool("filter", "--above", "10", "--strip-facility", "web", path, filtered)
    assert "plain 2" in filtered.read_text()


def test_what_cannot_be_formatted_is_kept_as_it_was():
    event = event_of({"num": 1, "time": 1.7e9, "incarnation": ["aa", None], "format": "%(missing)s", "x": 1})
    assert event["unformattable"] == {"format": "%(missing)s"}
    assert event["message"] == "%(missing)s"


def test_foolscaps_own_events_stay_as_they_are():
    event = {"num": 1, "time": 1.7e9, "incarnation": ["aa", None], "level": 23, "format": "got %(a)s, 100%%", "a": "x",
             "facility": "tahoe.web", "umid": "abcdef", "parent": 0}  # fmt: skip
    assert event_of(event) == event
    plain = {"num": 2, "time": 1.7e9, "incarnation": ["aa", None], "level": 30, "message": "%d of %d", "args": [1, 2]}
    assert event_of(plain) == plain


@pytest.mark.parametrize(
    "change", [{"num": -1}, {"num": 2**70}, {"num": True}, {"time": float("nan")}, {"time": -1}, {"incarnation": None},
               {"incarnation": []}]
)  # fmt: skip
def test_what_is_no_event_is_refused(change):
    with pytest.raises(ValueError, match="no "):
        event_of({"num": 1, "time": 1.7e9, "incarnation": ["aa", None], **change})
    with pytest.raises(Refused):
        event_of({"num": 1, "time": 1.7e9, "incarnation": ["aa", None], "message": "x" * 2_000_000})

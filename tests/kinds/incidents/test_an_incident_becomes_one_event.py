"""What a reader makes of an incident's file: cases as data, without a gatherer."""

import bz2
import json

import pytest

from lae_monitor.core.limits import MAX_ROW_TEXT, MAX_TITLE
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import DAY
from lae_monitor.kinds.incidents import read as reader

NAME = "incident-2026-11-20--10-00-00Z-abcdefg"
PATH = f"incidents/lae/incidents/node1/{NAME}.flog.bz2"
NOW = 1795168805.0  # 2026-11-20 10:00:05 UTC
FURL = "pb://" + "a" * 32 + "@tcp:monitor:3118/" + "s" * 32


def event(num=1, **more):
    return {"num": num, "time": NOW - 5 + num / 100, "level": 20, "incarnation": ["00ff", None], **more}


def flog(trigger, events=None, rx_time=NOW, compress=True, **header):
    lines = [
        {"header": {"type": "incident", "trigger": trigger, "versions": {"foolscap": "24.9.0"}, "pid": 7, **header}}
    ]
    for each in [trigger] if events is None else events:
        lines.append({"from": "b" * 32, "d": each} | ({"rx_time": rx_time} if rx_time is not None else {}))
    data = b"# foolscap flogfile v1\n" + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return bz2.compress(data) if compress else data


def row(data, path=PATH):
    (made,) = reader.read(Span(path, 0, len(data)), data)
    return made


def test_path_trigger_and_header_tell_everything():
    made = row(flog(event(30, level=35, umid="LkD9Pw", facility="tahoe.web", message="user clicked the button")))
    assert (made.kind, made.cluster, made.host, made.id) == ("incident", "lae", "node1", NAME)
    assert (made.time, made.received) == (NOW - 4.7, NOW)
    assert (made.level, made.title, made.group) == ("error", "user clicked the button", "LkD9Pw")
    assert made.attrs == {
        "umid": "LkD9Pw", "facility": "tahoe.web", "level": "35", "num": "30", "incarnation": "00ff", "pid": "7",
        "versions": "foolscap/24.9.0", "tub": "b" * 32, "events": "1",
        "fingerprint": "umid", "fingerprint.version": "2",
    }  # fmt: skip
    assert (made.file, made.offset, made.length) == (PATH, 0, made.length)


@pytest.mark.parametrize(
    ("level", "word"),
    [(10, "debug"), (20, "info"), (30, "warning"), (34, "warning"), (35, "error"), (40, "critical"), (50, "critical"),
     ("x", "warning"), (None, "warning"), (True, "warning")],
)  # fmt: skip
def test_level(level, word):
    assert row(flog(event(level=level))).level == word


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"message": "plain"}, "plain"),
        ({"format": "%(a)s and %(b)05d", "a": "x", "b": 7}, "x and 00007"),
        ({"message": "%s is %d", "args": ["x", 7]}, "x is 7"),
        ({"message": "100%", "args": []}, "100% [formatting failed]"),
        ({"message": "100%"}, "100%"),
        ({"format": "%(missing)s"}, "[no message] [formatting failed]"),
        ({"format": "%(a)d", "a": "no number", "message": "m"}, "m [formatting failed]"),
        ({"message": "%s", "args": ["a", "b"]}, "%s [formatting failed]"),
        ({"format": "100%% of %(a)s", "a": None}, "100% of None"),
        ({"format": "%(a)r %(b)s", "a": "q", "b": {"k": [1]}}, "'q' {'k': [1]}"),
        ({"message": 7}, "7"),
        ({}, "incident without a message"),
        ({"message": "two\nlines  here"}, "two lines here"),
        ({"message": "esc \x1b[2J bell \x07 \u202e"}, "esc \\x1b[2J bell \\x07 \\u202e"),
        ({"format": "%(a)999999999d", "a": 1, "message": "wide"}, "wide [formatting failed]"),
        ({"format": "%(a).999999999f", "a": 1.0, "message": "long"}, "long [formatting failed]"),
        ({"message": "%*d", "args": [999999999, 1]}, "%*d [formatting failed]"),
        (
            {"failure": {"@": "Failure", "traceback": "Traceback\nexceptions.KeyError: 'x'\n"}},
            "exceptions.KeyError: 'x'",
        ),
        ({"message": "lone \udc80"}, "lone \\udc80"),
    ],
)
def test_title_is_the_message_as_flogtool_renders_it(fields, title):
    assert row(flog(event(**fields))).title == title


def test_secrets_are_never_shown():
    cap = "URI:DIR2:" + "c" * 26 + ":" + "d" * 52
    url = "GET /uri/" + cap.replace(":", "%3A") + "/file"
    long = "x" * 1990 + FURL  # of which only the beginning would be shown
    secret = event(
        2, message=f"Tub.connectTo(b'{FURL}')", umid=FURL, facility=cap, why=FURL,
        failure={"@": "Failure", "str": f"<class 'KeyError'> {FURL}", "traceback": f"{cap}\n{FURL}"},
    )  # fmt: skip
    data = flog(
        secret,
        [
            event(1, format="%(a)s%(b)s", a=FURL[:20], b=FURL[20:]),
            event(3, format="%(a)s", a={"l": [long]}),
            event(4, message=url),
            secret,
        ],
        versions={"v": cap},
        pid=FURL,
    )
    made = row(data)
    shown = repr(made) + "\n".join(reader.dump(data))
    assert "s" * 32 not in shown
    assert "c" * 26 not in shown
    assert "d" * 52 not in shown
    assert "pb://" + "a" * 32 in shown


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"umid": "AbCdEf", "format": "f"}, "AbCdEf"),
        ({"format": "lost %(server)s", "server": "x"}, "lost %(server)s"),
        ({"message": "share 17 of pq3h4y5zq3h4y5zq3h4y5zq3h4 at 0x7f00aa gone"}, "share <n> of <id> at <id> gone"),
        (
            {"message": "failed", "failure": {"str": "[Failure instance: Traceback: <class 'foolscap.X.Dead'>: 7"}},
            "failed foolscap.X.Dead",
        ),
        (
            {"message": "failed", "failure": {"repr": "<twisted.python.failure.Failure KeyError: 'a'>"}},
            "failed KeyError",
        ),
    ],
)
def test_group_is_what_the_same_mistake_has_in_common(fields, group):
    assert row(flog(event(**fields))).group == group


@pytest.mark.parametrize(
    ("claimed", "time"),
    [(NOW - 3600, NOW - 3600), (NOW + 3600, NOW + 3600), (NOW + 2 * DAY, NOW + DAY), (1e300, NOW + DAY), (-5.0, 946684800.0),
     (float("inf"), NOW - 5), (float("nan"), NOW - 5), ("soon", NOW - 5), (None, NOW - 5)],
)  # fmt: skip
def test_time_is_the_triggers_as_far_as_it_can_be_true(claimed, time):
    made = row(flog(event(time=claimed)))
    assert made.time == time
    assert ("time_claimed" in made.attrs) == (isinstance(claimed, float) and time != claimed and abs(claimed) < 1e301)


def test_received_without_rx_time_is_the_time_in_the_name():
    assert row(flog(event(), rx_time=None)).received == NOW - 5
    far = PATH.replace("2026", "9999")
    assert row(flog(event(), rx_time=None), far).received < 4102444800.0 + 2 * DAY


def test_text_holds_the_trigger_with_its_traceback_and_the_last_events():
    events = [event(number, message=f"event {number} " + "y" * 500) for number in range(500)]
    trigger = event(3, message="it began", level=30, failure={"traceback": "Traceback:\n  line"})
    made = row(flog(trigger, events))
    assert len(made.text) <= MAX_ROW_TEXT
    assert made.text.startswith("2026-11-20T10:00:00.030Z WEIRD -: it began\nTraceback:\n  line\n")
    assert "event 499 y" in made.text
    assert "event 3 y" not in made.text
    assert made.attrs["events"] == "500"
    assert len(row(flog(event(message="t" * 5000))).title) == MAX_TITLE


def test_other_files_yield_nothing():
    for path in (
        "incidents/lae/incidents/node1/latest",
        "incidents/lae/classified/unknown",
        f"incidents/lae/incidents/node1/deeper/{NAME}.flog.bz2",
        "incidents/lae/incidents/node1/other-file.flog.bz2",
    ):
        assert list(reader.read(Span(path, 0, 3), b"abc")) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not begin"),
        (b"(dp0\nS'header'\n", "pickle"),
        (bz2.compress(b"(dp0\nS'header'\n"), "pickle"),
        (b"pb://x@y/z\n", "does not begin"),
        (b"BZh9 this is not it", "not bzip2"),
        (flog(event())[:-20], "cut short"),
        (flog(event(), compress=False)[:-1], "cut short"),
        (bz2.compress(b"# foolscap flogfile v1\n"), "no header"),
        (bz2.compress(b"# foolscap flogfile v1\n[1]\n"), "no JSON object"),
        (bz2.compress(b"# foolscap flogfile v1\n{nope\n"), "not JSON"),
        (bz2.compress(b"# foolscap flogfile v1\n\xff\n"), "not JSON"),
        (bz2.compress(b"# foolscap flogfile v1\n" + b"[" * 100_000 + b"\n"), "not JSON"),
        (bz2.compress(b"# foolscap flogfile v1\n" + b"\0" * 80_000_000), "inflates"),
        (bz2.compress(b"") * 200, "streams"),
        (flog(event(), [["no dict"]]), "no dictionary"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_incident_is_refused(data, why):
    with pytest.raises(Refused) as refused:
        list(reader.read(Span(PATH, 0, len(data)), data))
    assert refused.value.code == "unreadable"
    assert why in refused.value.detail


def test_event_that_is_too_large_to_show_is_counted_and_the_rest_is_read():
    huge = event(1, message="x" * 5_000_000)
    made = row(flog(event(2, message="trigger"), [huge, event(2, message="trigger"), event(3, message="after")]))
    assert made.attrs["events"] == "3"
    assert "after" in made.text
    assert made.received == NOW


def test_dump_shows_every_event_with_the_trigger_marked():
    trigger = event(2, level=30, message="boom\nhere", facility="f", failure={"traceback": "T1\nT2"})
    lines = list(reader.dump(flog(trigger, [event(1, message="before"), trigger, event(3, message="after")])))
    assert lines == [
        "foolscap/24.9.0",
        "pid 7",
        "2026-11-20T10:00:00.010Z OPERATIONAL -: before",
        "2026-11-20T10:00:00.020Z WEIRD f: boom\n    here [INCIDENT-TRIGGER]",
        "    T1",
        "    T2",
        "2026-11-20T10:00:00.030Z OPERATIONAL -: after",
    ]


def test_same_incident_read_twice_has_the_same_key():
    assert row(flog(event())).key == row(flog(event(), rx_time=NOW + 9)).key
    assert row(flog(event())).key != row(flog(event()), PATH.replace("node1", "node2")).key

"""Any bytes give rows or `Refused`; any value from the wire gives a file that reads back, or `Refused`."""

import bz2
import json
import math
import re

from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.core.limits import MAX_ROW_TEXT, MAX_TITLE
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS, Span
from lae_monitor.kinds.incidents import read as reader
from lae_monitor.kinds.incidents.wire.flog import MAGIC, pack
from lae_monitor.kinds.incidents.wire.render import MAX_MESSAGE, message

PATH = "incidents/lae/incidents/node1/incident-2026-11-20--10-00-00Z-abcdefg.flog.bz2"
KEYS = st.sampled_from(
    ["num", "time", "level", "incarnation", "message", "format", "args", "facility", "umid", "failure", "why", "x", "traceback",
     "str", "repr", "versions", "pid", "type", "trigger", "rx_time", "from", "d"]
) | st.text(max_size=5)  # fmt: skip
FORMATS = st.text(alphabet="%()sdrxcfeg.*0123456789#- +lhax{}\n", max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | FORMATS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=8
)
EVENTS = st.dictionaries(KEYS, JSON, max_size=5)
WIRE = st.recursive(
    SCALARS | st.binary(max_size=20) | st.integers(min_value=2**9000, max_value=2**9001) | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            KEYS | st.binary(max_size=5) | st.integers() | st.floats() | st.none() | st.booleans(), inner, max_size=6
        )
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.binary(max_size=3), max_size=3)
    ),
    max_leaves=8,
)


def unless_refused(codes, call):
    """What `call` returns; None when it is refused with one of `codes`."""
    try:
        return call()
    except Refused as refused:
        assert refused.code in codes
        return None


def rows(data):
    made = unless_refused({"unreadable"}, lambda: list(reader.read(Span(PATH, 0, len(data)), data)))
    unless_refused({"unreadable"}, lambda: list(reader.dump(data)))
    if made is None:
        return []
    for row in made:
        assert row.level in LEVELS
        assert len(row.title) <= MAX_TITLE
        assert len(row.text) <= MAX_ROW_TEXT
        assert 946684800.0 <= row.time < 4.2e9
        assert 946684800.0 <= row.received < 4.2e9
        json.dumps([row.title, row.text, row.group, row.attrs]).encode()
        (row.title + row.text + row.group + "".join(row.attrs.values())).encode("utf-8")
    return made


@given(st.binary(max_size=500))
def test_any_bytes(data):
    rows(data)
    rows(MAGIC + data)
    rows(bz2.compress(MAGIC + data))


@given(trigger=EVENTS, events=st.lists(st.dictionaries(KEYS, JSON, max_size=4) | JSON, max_size=5), header=JSON)
def test_any_json(trigger, events, header):
    def flog(*lines):
        return MAGIC + b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    rows(flog(*events))
    rows(flog({"header": header}, *events))
    rows(flog({"header": {"trigger": trigger, "versions": header}}, *events))
    made = rows(
        flog(
            {"header": {"trigger": trigger}},
            *({"d": event, "rx_time": header} for event in events if isinstance(event, dict)),
        )
    )
    assert len(made) == 1


@given(EVENTS)
def test_any_event_has_a_short_text_without_control_characters(event):
    text = message(event)
    assert len(text) <= MAX_MESSAGE
    assert all(character.isprintable() or character in "\n\t" or ord(character) > 159 for character in text)


@given(st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=2), SCALARS, max_size=4), FORMATS)
def test_formatting_agrees_with_python(values, template):
    """Where Python formats it at all, and to something of reasonable size."""
    if re.search(r"\d{3,}|\*", template):
        return
    try:
        expected = template % {**values, "format": template}
    except (ValueError, TypeError, KeyError, OverflowError):
        expected = None
    shown = message({**values, "format": template})
    if expected is not None and expected.isprintable() and "pb://" not in expected and len(expected) < 300:
        assert shown == expected


@given(header=WIRE, events=st.lists(WIRE, max_size=4), trigger=WIRE)
def test_any_answer_of_a_node_is_packed_or_refused(header, events, trigger):
    for answer in (
        header,
        (header, events),
        ({"type": "incident", "trigger": trigger, "versions": header}, events),
        ({b"type": b"incident", b"trigger": {b"message": trigger}}, [{b"x": event} for event in events]),
    ):
        packed = unless_refused({"incident_malformed", "incident_too_large"}, lambda: pack(answer, "b" * 32, 1.7e9))  # noqa: B023
        if packed is None:
            continue
        data = b"".join(packed.chunks)
        (made,) = rows(data)
        assert made.attrs["events"] == str(packed.events)
        assert len(bz2.decompress(data)) == packed.size
        assert not math.isnan(made.time)

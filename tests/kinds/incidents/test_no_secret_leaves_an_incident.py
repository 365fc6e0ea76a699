"""Whatever an incident holds, and wherever: no row, dump or page of it shows eight characters of a secret in a row."""

import json
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lae_monitor.core.limits import MAX_TITLE
from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents import read as reader
from lae_monitor.kinds.incidents.show import show
from lae_monitor.kinds.incidents.wire.flog import MAGIC
from lae_monitor.kinds.incidents.wire.render import MAX_MESSAGE

sys.path.append(str(Path(__file__).parents[2] / "core" / "planted"))

from disguises import planted

PATH = "incidents/lae/incidents/node1/incident-2026-11-20--10-00-00Z-abcdefg.flog.bz2"
KEYS = ("num", "time", "level", "incarnation", "message", "format", "args", "facility", "umid", "failure", "why", "parent",
        "tubID", "system", "stacktrace", "x")  # fmt: skip
OF_FAILURE = ("@", "str", "repr", "traceback")
# Each as one text: what stands in two values together is no secret in either, and is put together by a format alone.
TEXTS = ("%s", "got %s", "%(x)s", "%(x)r and %(why)s", "%(x).20s|%(x)40s", "%(missing)s", "", "word", "x" * (MAX_TITLE - 20),
         "x" * (MAX_MESSAGE - 30), "x" * 1_990, "x" * 480, "x" * 4_080)  # fmt: skip


class Planter:
    """Draws values, and remembers the secrets in them."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.secrets = []

    def text(self) -> str:
        text = self.draw(st.sampled_from(TEXTS))
        if self.draw(st.booleans()):
            secret = self.draw(planted())
            self.secrets.append(secret)
            text += secret
        return text

    def value(self, depth: int = 0):
        kind = self.draw(st.integers(0, 5 if depth < 3 else 1))
        if kind == 2:
            return [self.value(depth + 1) for _ in range(self.draw(st.integers(0, 3)))]
        if kind == 3:
            return {self.text(): self.value(depth + 1) for _ in range(self.draw(st.integers(0, 3)))}
        if kind == 4:
            return {key: self.text() for key in OF_FAILURE if self.draw(st.booleans())}
        return self.draw(st.sampled_from([None, 7, 30.0, True])) if kind == 5 else self.text()

    def event(self) -> dict:
        names = self.draw(st.lists(st.sampled_from(KEYS), max_size=6, unique=True))
        return {name: self.value() for name in names} | ({self.text(): 1} if self.draw(st.booleans()) else {})


@st.composite
def incidents(draw):
    """The bytes of an incident's file, and what is secret in it."""
    planter = Planter(draw)
    trigger = planter.event()
    header = {"type": "incident", "trigger": trigger, "pid": planter.value(), "versions": planter.value(2)}
    lines = [{"header": header}]
    lines += [
        {"d": draw(st.sampled_from([trigger, planter.event()])), "from": planter.value(3), "rx_time": 1.7e9}
        for _ in range(draw(st.integers(0, 3)))
    ]
    return MAGIC + b"".join(json.dumps(line).encode() + b"\n" for line in lines), planter.secrets


def everything(value) -> str:
    """All texts in rows and what is shown, as they are, one after the other."""
    if isinstance(value, str):
        return value + "\0"
    if isinstance(value, dict):
        return "".join(everything(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return "".join(map(everything, value))
    fields = getattr(value, "__struct_fields__", ())
    return "".join(everything(getattr(value, field)) for field in fields)


@settings(derandomize=True)
@given(incidents())
def test_nothing_that_is_made_of_it_shows_a_secret(made):
    data, secrets = made
    span = Span(PATH, 0, len(data))
    rows = list(reader.read(span, data))
    assert len(rows) == 1
    shown = everything(rows) + "\0".join(reader.dump(data)) + everything(show(span, data))
    for secret in secrets:
        assert secret.shown_in(shown) == [], secret


def test_what_is_cut_for_a_list_was_redacted_before():
    """A limit that falls into a secret does not leave its beginning."""
    swissnum = "zkafmbtiyvsgtbtkwsykqhmbkdbnklay"
    furl = f"pb://{'a' * 32}@tcp:h:1/{swissnum}"
    for before in range(0, 2_100, 7):
        event = {
            "num": 1,
            "message": "-" * before + furl,
            "umid": "u" * (before % 200) + furl,
            "facility": "f" * (before % 100) + furl,
        }
        lines = [{"header": {"trigger": event, "versions": {"v" * (before % 500): furl}}}, {"d": event}]
        data = MAGIC + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        shown = everything(list(reader.read(Span(PATH, 0, len(data)), data))) + everything(show(Span(PATH, 0, 0), data))
        assert swissnum[:8] not in shown

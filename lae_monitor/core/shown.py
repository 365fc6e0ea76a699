"""What a kind makes of one of its reports, for people: the answer of `kinds/<kind>/show.py: show(span, data) -> Shown`.

That module is optional and pure, as `read` is; it may raise Refused("unreadable"). Whatever it returns is shown as text.
"""

from typing import Final

import msgspec

from lae_monitor.core.limits import KiB

MAX_TEXT: Final = 512 * KiB  # characters of one section; the rest is in the original
MAX_FIELDS: Final = 1_000  # of one section; crash reports have 3 to 200
MAX_FIELD: Final = 16 * KiB  # characters


class Section(msgspec.Struct, kw_only=True):
    """A piece under its own title: named values, a text, or both; `note` says what was left out."""

    title: str
    fields: dict[str, str] = {}
    text: str = ""
    note: str = ""


class Part(msgspec.Struct, kw_only=True):
    """A file within the report."""

    name: str
    size: int  # bytes
    sha256: str
    note: str = ""


class Logged(msgspec.Struct, kw_only=True):
    """An event of a program's log. `level` is one of core.rows.LEVELS, `name` what the program calls it.

    `time` is RFC 3339, or "" when it does not say; `trigger`: it made the report.
    """

    time: str = ""
    level: str = "debug"
    name: str = ""
    facility: str = ""
    message: str = ""
    failure: str = ""
    trigger: bool = False


class Shown(msgspec.Struct, kw_only=True):
    """The report, taken apart. `events` say once more what is in the text of a section, field by field."""

    sections: list[Section] = []
    parts: list[Part] = []
    events: list[Logged] = []

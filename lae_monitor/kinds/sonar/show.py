"""A run of Sonar for people: the lines as they came."""

from lae_monitor.core.rows import Span
from lae_monitor.core.shown import MAX_TEXT, Section, Shown


def show(_span: Span, data: bytes) -> Shown:
    """The records, one a line."""
    text = data.decode("utf-8", "replace")
    note = f"{len(text) - MAX_TEXT:,} more characters in the original" if len(text) > MAX_TEXT else ""
    return Shown(sections=[Section(title="Records", text=text[:MAX_TEXT], note=note)])

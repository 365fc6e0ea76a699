"""An incident for people: its events as flogtool would print them, without secrets."""

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.gatherers.incidents.read import dump
from lae_monitor.gatherers.shown import MAX_TEXT, Section, Shown


def show(_span: Span, data: bytes) -> Shown:
    """The events, as far as they can be read."""
    lines: list[str] = []
    size, note = 0, ""
    try:
        for line in dump(data):
            size += len(line) + 1
            if size > MAX_TEXT:
                note = "The rest is left out here; the original has it all."
                break
            lines.append(line)
    except Refused as refused:
        note = f"Not readable from here on: {refused.detail}"
    return Shown(sections=[Section(title="Events", text="\n".join(lines), note=note)])

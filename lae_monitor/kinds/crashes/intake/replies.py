"""The text that a client reads; source: the Socorro family, and what its relatives answer. See docs/crashes.md#replies."""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Final

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.intake.admission import Admitted
from lae_monitor.kinds.crashes.program import Program, clean
from lae_monitor.kinds.crashes.throttle.rules import Result

PLAIN: Final = "text/plain"  # of every answer to a report, to the letter


class Style(Enum):
    """How an address answers: with `key=value` lines, or with the id and nothing else."""

    LINES = "lines"
    ID = "id"


def accepted(admitted: Admitted, program: Program, settings: Settings, style: Style) -> str:
    """For a report that is durable, or that its client is to believe so."""
    if style is Style.ID:
        return admitted.crash_id
    lines = [f"CrashID={settings.id_prefix}{admitted.crash_id}"]
    if settings.view_url:
        lines.append(f"ViewURL={_view_url(settings.view_url, admitted.crash_id)}")
    if program.version and _is_over(program, settings.end_of_life):
        lines.append(f"StopSendingReportsFor={program.version}")
    return "".join(f"{line}\n" for line in lines)


def rejected(admitted: Admitted) -> str:
    """For a report that a throttle rule did not let pass."""
    if admitted.verdict.result is Result.IGNORE:
        return "Unsupported=1\n"
    return f"Discarded=rule_{admitted.verdict.rule}"


def refused(why: Refused) -> str:
    return f"Discarded={why.code}"


def elsewhere(why: Refused) -> tuple[str, str]:
    """Body and Content-Type for an address that takes no reports, or a method that it does not take, as Antenna has them."""
    return json.dumps({"title": f"{why.status} {HTTPStatus(why.status).phrase}"}), "application/json"


def _view_url(template: str, crash_id: CrashId) -> str:
    return template.replace("{crash_id}", crash_id)


def _is_over(program: Program, end_of_life: Mapping[str, Sequence[str]]) -> bool:
    patterns = (
        pattern for name, patterns in end_of_life.items() if clean(name) == program.product for pattern in patterns
    )
    return any(fnmatchcase(program.version, pattern) for pattern in patterns)

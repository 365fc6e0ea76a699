"""A crash for people: its annotations, what the collector noted, and the files that came with it."""

import hashlib
import json
from typing import Any, Final

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.secrets import HIDDEN, redact
from lae_monitor.core.shown import MAX_FIELD, MAX_FIELDS, Part, Section, Shown
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.read import PRIVATE
from lae_monitor.kinds.crashes.report import RAW_CRASH

_EMPTY: Final[tuple[Any, ...]] = ("", None, [], {})


def show(_span: Span, data: bytes) -> Shown:
    """
    Raises:
        Refused: `unreadable`.
    """
    files = entries(data)
    document = _document(files.pop(RAW_CRASH, None))
    metadata = document.pop("metadata", {})
    metadata = dict(metadata) if isinstance(metadata, dict) else {"metadata": metadata}
    checksums = metadata.pop("dump_checksums", {})
    received = checksums if isinstance(checksums, dict) else {}
    return Shown(
        sections=[_section("Annotations", document), _section("Submission", metadata)],
        parts=[_part(name, content, received.get(name)) for name, content in files.items()],
    )


def _document(raw: memoryview | None) -> dict[str, Any]:
    if raw is None:
        raise Refused("unreadable", f"no {RAW_CRASH}")
    try:
        document = json.loads(bytes(raw))
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable", f"{RAW_CRASH}: {error!r}"[:300]) from error
    if not isinstance(document, dict):
        raise Refused("unreadable", f"{RAW_CRASH} is no object")
    return document


def _part(name: str, content: memoryview, received: Any) -> Part:
    digest = hashlib.sha256(content).hexdigest()
    note = "" if received in {None, digest} else "its checksum is not that of what was received"
    return Part(name=name, size=len(content), sha256=digest, note=note)


def _section(title: str, values: dict[str, Any]) -> Section:
    kept = [(name, value) for name, value in sorted(values.items()) if value not in _EMPTY]
    fields = {name: HIDDEN if name in PRIVATE else _text(value) for name, value in kept[:MAX_FIELDS]}
    note = f"{len(kept) - MAX_FIELDS:,} more in the original" if len(kept) > MAX_FIELDS else ""
    return Section(title=title, fields=fields, note=note)


def _text(value: Any) -> str:
    text = redact(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_FIELD else f"{text[:MAX_FIELD]}… {len(text) - MAX_FIELD:,} more characters"

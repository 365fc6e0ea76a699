"""From spans to rows. A reader's mistake costs the span it was made on, and nothing else.

All rows of all kinds pass here, and lose their secrets: the store never gets them, so no page, feed or alarm can show one.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from lae_monitor.core.redaction import redact, redacted
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.rows import Reader, Row, Span

log = logging.getLogger(__name__)

FindReader = Callable[[str], Reader | None]


def quarantine_id(span: Span) -> str:
    """The name under which a span that was not understood is kept."""
    return hashlib.blake2b(repr(tuple(span)).encode(), digest_size=8).hexdigest()


@dataclass
class Readings:
    """What was read from the spans of a batch."""

    rows: list[tuple[Row, tuple[str, int]]] = field(default_factory=list)
    failures: dict[Span, str] = field(default_factory=dict)
    counts: dict[Span, int] = field(default_factory=dict)


def read_all(pieces: list[tuple[Span, bytes]], find_reader: FindReader) -> Readings:
    """The rows of `pieces`; a span that its reader refuses, or stumbles over, is a failure with its reason."""
    result = Readings()
    for span, data in pieces:
        reader = find_reader(span.path)
        try:
            rows = [redacted(row) for row in reader.read(span, data)] if reader is not None else []
        except Refused as refused:
            result.failures[span] = redact(str(refused))
            continue
        except Exception as error:
            log.exception("reader of %s", span.path)
            result.failures[span] = f"unreadable: {type(error).__name__}: {shorten(str(error), 300)}"
            continue
        source = (span.path, span.start)
        result.rows += [(row, source) for row in rows]
        result.counts[span] = len(rows)
    return result

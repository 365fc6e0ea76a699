"""crashes/<YYYYMMDD>/<crash id>.zip -> one event. Pure: bytes in, rows out."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.core.kind import Classes
from lae_monitor.core.limits import MAX_ROW_TEXT, MAX_TITLE
from lae_monitor.core.names import ClusterName, CrashId, HostName, row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Row, Span
from lae_monitor.core.secrets import HIDDEN, redact
from lae_monitor.core.time import clamp, parse_time
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.minidump import Summary, problem_of, summarise, unwrapped
from lae_monitor.kinds.crashes.program import Program, clean
from lae_monitor.kinds.crashes.report import MINIDUMP, OURS, RAW_CRASH, program_in
from lae_monitor.kinds.crashes.signature import Signature, signature_of

VERSION: Final = 3  # goes up when the same zip gives another row
WHOLE: Final = True

MAX_NAME: Final = 100  # characters of an annotation's name
MAX_VALUE: Final = 1000  # characters of one annotation in the text
MAX_ATTRIBUTE: Final = 200  # characters of one annotation among the attrs; longer ones are in the text only
MAX_ATTRIBUTES: Final = 100
MAX_GROUP: Final = 360  # characters: a whole product, and a whole signature

TIME: Final = "CrashTime"
THROTTLED: Final = {"0": "accept", "1": "defer", "2": "reject", "3": "fake_accept"}  # by the digit of the crash id
PRIVATE: Final = frozenset({"Email", "email", "TelemetryClientId", "TelemetryServerURL", "TelemetrySessionId"})


def cut(_path: str, data: bytes) -> int:
    return len(data)


def read(span: Span, data: bytes) -> Iterator[Row]:
    """The event that the zip `data` tells of.

    Raises:
        Refused: `unreadable`.
    """
    files = entries(data)
    raw = files.get(RAW_CRASH)
    if raw is None:
        raise Refused("unreadable", f"no {RAW_CRASH}")
    try:
        document = json.loads(bytes(raw))
        metadata = document["metadata"]
        crash_id = CrashId(document["uuid"])
        received = parse_time(document["submitted_timestamp"])
        cluster, host = ClusterName(metadata["cluster"]), HostName(metadata["host"])
        notes = [str(note) for note in metadata["collector_notes"]]
        checksums = {str(name): str(digest) for name, digest in metadata["dump_checksums"].items()}
        annotations = _by_shown_name({name: _text(value) for name, value in document.items() if name not in OURS})
        replaced = {f"{name} (sent)": _text(value) for name, value in metadata.get("replaced", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Refused) as error:
        raise Refused("unreadable", f"{RAW_CRASH}: {error!r}") from error
    dump = _dump(files[MINIDUMP]) if MINIDUMP in files else _Dump()
    annotations |= replaced
    sizes = {name: len(content) for name, content in files.items() if name != RAW_CRASH}
    program = program_in(document, files, dump.summary.os if dump.summary else "")
    reason = _line(annotations.get("MozCrashReason", "")) or dump.reason
    # Secrets go before siggen takes texts apart, after which nobody would recognise them.
    signature = signature_of({name: redact(value) for name, value in annotations.items()}, dump.summary, redact(reason))
    facts = dump.facts | _signature_facts(signature) | _throttled(crash_id, metadata)
    told = {name: value for name, value in program._asdict().items() if value}
    yield Event(
        kind="crash",
        cluster=cluster,
        host=host,
        time=_time(annotations.get(TIME, ""), received),
        received=received,
        id=crash_id,
        key=row_key("crash", crash_id),
        level="error",
        title=_title(program, reason),
        text=_page(annotations, facts, sizes, checksums, notes),
        group=group_of(program.product, facts["signature"]),
        attrs=_attributes(annotations, facts | told, sizes, checksums),
        file=span.path,
        offset=span.start,
        length=span.end - span.start,
    )


def group_of(product: str, signature: str) -> str:
    """What crashes of one mistake have in common; two products never share one.

    Args:
        product: as `program.clean` gives it, without `|`.
        signature: without secrets.
    """
    return f"{product} | {signature}"[:MAX_GROUP]


class _Dump(NamedTuple):
    """What the minidump says, and what is to be said of it."""

    summary: Summary | None = None
    problem: str = ""
    wrapped: str = ""

    @property
    def reason(self) -> str:
        return self.summary.reason if self.summary else ""

    @property
    def facts(self) -> dict[str, str]:
        found = _dump_facts(self.summary) if self.summary else {}
        if self.wrapped:
            found["dump.wrapped"] = self.wrapped
        if self.problem:
            found |= {"dump.problem": f"the minidump {self.problem}", f"{MINIDUMP}.valid": "no"}
        elif self.summary:
            found[f"{MINIDUMP}.valid"] = "yes"
        return found


def _dump(content: memoryview) -> _Dump:
    dump, wrapped = unwrapped(content)
    return _Dump(summarise(dump), problem_of(dump, whole=wrapped != "gzip"), wrapped)


def _signature_facts(signature: Signature) -> dict[str, str]:
    why = "; ".join(signature.why)
    return {"signature": redact(_line(signature.text)), "signature.why": redact(_line(why))[:MAX_ATTRIBUTE]}


def _throttled(crash_id: CrashId, metadata: Mapping[str, Any]) -> dict[str, str]:
    """What the throttle rules said, for a report that they did not simply accept."""
    result, rule = (metadata.get(name) for name in ("throttle_result", "throttle_rule"))
    result = _name(result) if isinstance(result, str) else THROTTLED.get(crash_id[-7], "")
    if result in {"", "accept"}:
        return {}
    return {"throttle": result} | ({"throttle.rule": _name(rule)} if isinstance(rule, str) and rule else {})


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _name(name: str) -> str:
    return redact(_line(_text(name)))[:MAX_NAME]


def _by_shown_name(annotations: Mapping[str, str]) -> dict[str, str]:
    """By the names that are shown; where another one looks the same, that which came so counts."""
    shown = {_name(name): value for name, value in annotations.items()}
    return shown | {name: value for name, value in annotations.items() if name in shown}


def _line(text: str) -> str:
    """`text` as one printable line."""
    if text.isprintable():
        return " ".join(text.split())
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _title(program: Program, reason: str) -> str:
    what = f"{program.product} {program.version}".strip()
    title = f"{what} crashed: {reason}" if reason else f"{what} crashed"
    return redact(title)[:MAX_TITLE]


def _time(sent: str, received: float) -> float:
    """When it happened, by the sender; when that cannot be, when it was received."""
    try:
        seconds = float(sent)
    except ValueError:
        return received
    clamped, moved = clamp(seconds, received)
    return received if moved else clamped


def _shown(name: str, value: str) -> str:
    return HIDDEN if name in PRIVATE else redact(value)


def _dump_facts(summary: Summary) -> dict[str, str]:
    """What the dump says, by the names of the attrs."""
    facts = {
        "dump.os": f"{summary.os} {summary.os_version}".strip(),
        "dump.cpu": summary.cpu,
        "dump.reason": summary.reason,
        "dump.address": "" if summary.address is None else f"0x{summary.address:x}",
        "dump.module": _line(summary.module),
        "dump.offset": "" if summary.offset is None else f"0x{summary.offset:x}",
        "dump.threads": "" if summary.threads is None else str(summary.threads),
        "dump.streams": str(summary.streams),
    }
    return {name: _line(value) for name, value in facts.items() if value}


def _attributes(
    annotations: Mapping[str, str], facts: Mapping[str, str], sizes: Mapping[str, int], checksums: Mapping[str, str]
) -> dict[str, str]:
    short = {name: value for name, value in annotations.items() if len(value) <= MAX_ATTRIBUTE}
    attrs = {name: _shown(name, short[name]) for name in sorted(short)[:MAX_ATTRIBUTES]}
    for name, size in sizes.items():
        attrs[f"{name}.size"] = str(size)
        attrs[f"{name}.sha256"] = checksums.get(name, "")
    return attrs | dict(facts)


def _page(
    annotations: Mapping[str, str],
    facts: Mapping[str, str],
    sizes: Mapping[str, int],
    checksums: Mapping[str, str],
    notes: list[str],
) -> str:
    lines = [f"{name}: {_line(_shown(name, _shorten(value)))}" for name, value in sorted(annotations.items())]
    lines += [f"{name}: {value}" for name, value in facts.items()]
    lines += [f"file: {name}, {size} bytes, sha256 {checksums.get(name, '')}" for name, size in sizes.items()]
    lines += [f"note: {_line(redact(note))}" for note in notes]
    return "\n".join(lines)[:MAX_ROW_TEXT]


def _shorten(value: str) -> str:
    return value if len(value) <= MAX_VALUE else f"{value[:MAX_VALUE]}... [{len(value)} characters]"


# Groups of crashes: why one is, and how long the reports of a product are kept.
def why(_group: str, attributes: Mapping[str, str]) -> str:
    """Why crashes are one group."""
    signature = attributes.get("signature.why", "")
    if not signature:
        return "product"
    return f"product and signature are the same. The signature was made from: {signature}"


def classes(settings: Settings) -> Classes:
    """By the names that reports have them under; of two ways to write one product, the longer time counts."""
    keep: dict[str, float] = {}
    for product, kept in settings.product_retention.items():
        keep[clean(product)] = max(float(kept), keep.get(clean(product), 0.0))
    return Classes(keep, int(settings.max_kept), "product_retention")


# The version of the program, of an event's attributes. What `product` is set beside, one reader named; before, rows had the
# names that clients use.
RELEASE: Final = (
    "if(attrs['product'] != '', attrs['version'], "
    "arrayFirst(found -> found != '', [attrs['Version'], attrs['ver'], attrs['_version']]))"
)


def group_of_product(product: str) -> str:
    """What the groups of a product begin with."""
    return group_of(clean(product), "")

"""Which program a crash report is of: its product, version, process, channel and platform, read here and nowhere else.

`Program.product` is what is checked against tokens, throttled, stored, grouped, retired, handed on, searched and shown. If a
check read the product in another way, a report could pass it and still be shown as the product that it protects. Pure.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.core.limits import KiB
from lae_monitor.core.secrets import HIDDEN, redact
from lae_monitor.kinds.crashes.minidump import Look, crashpad_annotations

UNKNOWN: Final = "unknown program"  # the product of a report that names none
MAX_LENGTH: Final = 100  # characters of a product, a version, and so on; what follows is not part of it
MAX_LOOKED_AT: Final = 1000  # characters of an annotation that are looked at for one
MAX_SENTRY: Final = 256 * KiB  # characters of Sentry's JSON, bytes of its event; Sentry itself takes 50 KB of an event
MAX_CHUNKS: Final = 100  # of Sentry's JSON, which Electron cuts into pieces of 127 or 20,320 bytes

# Annotations for product and version, the most specific first; source: docs/crashes.md#which-program.
NAMES: Final = (
    ("_productName", "_version"),  # Electron: the application, whereas prod is "Electron"
    ("ProductName", "Version"),  # Mozilla, and this project's own senders
    ("prod", "ver"),  # Breakpad, Crashpad, Chromium
    ("product", "version"),  # CEF, BugSplat
    ("appName", "appVersion"),  # BugSplat's migration
    ("application", "application.version"),  # Backtrace
)
PROCESS: Final = ("ProcessType", "ptype", "process_type")  # Mozilla, Crashpad, Electron
CHANNEL: Final = ("ReleaseChannel", "channel")  # Mozilla, Chromium
PLATFORM: Final = ("platform", "plat")  # Electron, Chromium
ALL_NAMES: Final = frozenset([*(name for pair in NAMES for name in pair), *PROCESS, *CHANNEL, *PLATFORM])
SENTRY_EVENT: Final = "sentry-event"  # as what the file `__sentry-event` is stored
SENTRY: Final = "sentry"

# What no font shows, and is no format character: fillers, variation selectors, a joiner (Default_Ignorable_Code_Point).
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_BLANK: Final = re.compile("[\\s\u2800]")
_RELEASE: Final = re.compile("(@?[^@]+)@(.+)")  # package@version; the package of npm may begin with @

Source = Mapping[str, Any]


class Program(NamedTuple):
    """Each in the form that `clean` gives it; empty where the report does not say, but for the product: UNKNOWN."""

    product: str = UNKNOWN
    version: str = ""
    process: str = ""
    channel: str = ""
    platform: str = ""

    @property
    def named(self) -> bool:
        """Whether the report names a product."""
        return self.product != UNKNOWN


def program_of(form: Source, inside: Iterable[Source] = (), system: str = "") -> Program:
    """
    Args:
        form: all annotations of the report, by the names that came.
        inside: what its files say, asked for one by one as long as no product was named; see `sources_in`.
        system: of the dump's headers; it counts before what the form says.
    """
    rows: list[tuple[str, str]] = []
    process = channel = platform = product = ""
    for source in chain([form], inside):
        events = list(_sentry_events(source))
        rows += [(clean(source.get(name)), clean(source.get(version))) for name, version in NAMES]
        rows += [_release(event) for event in events]
        product = next((name for name, _ in rows if name and name != UNKNOWN), "")
        process = process or _first(source.get(name) for name in PROCESS)
        channel = channel or _first([*map(source.get, CHANNEL), *(event.get("environment") for event in events)])
        platform = platform or _first(source.get(name) for name in PLATFORM)
        if product:
            break
    # A version belongs to the product beside it: Electron's is not that of the application.
    version = next((version for name, version in rows if version and name in {product, "", UNKNOWN}), "")
    version = next((own for name, own in rows if own and name == product), version)
    return Program(product or UNKNOWN, version, process, channel, clean(system) or platform)


def sources_in(files: Mapping[str, Look], dump: str) -> Iterator[Source]:
    """What files of a report say of its program: Sentry's event, then what Crashpad wrote into the minidump `dump`."""
    if SENTRY_EVENT in files:
        yield {SENTRY: _event(files[SENTRY_EVENT](0, MAX_SENTRY + 1))}
    if dump in files:
        yield crashpad_annotations(files[dump])


def clean(value: Any) -> str:
    """The form in which products, versions and so on are compared and shown. Cleaning twice changes nothing more.

    One line in NFC, each run of blanks a single one, none at the ends, without what cannot be seen (control and format
    characters), cut to MAX_LENGTH. Letter case counts. `|` becomes `/`: it separates product and signature in a group's
    name. What has a secret in it is hidden whole.
    """
    if isinstance(value, int | float):
        value = json.dumps(value)
    return _cleaned(value[:MAX_LOOKED_AT]) if isinstance(value, str) else ""


@lru_cache(1024)
def _cleaned(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = _INVISIBLE.sub("", _BLANK.sub(" ", text))
        text = unicodedata.normalize("NFC", "".join(letter for letter in text if letter.isprintable()))
    text = " ".join(text.replace("|", "/").split())[:MAX_LENGTH].rstrip()
    return text if redact(text) == text else HIDDEN


def _first(values: Iterable[Any]) -> str:
    return next((text for value in values if (text := clean(value))), "")


# ---- Sentry ------------------------------------------------------------------------------------------------------------


class _Event(msgspec.Struct):
    """What we read of Sentry's event."""

    release: Any = None
    environment: Any = None


def _sentry_events(source: Source) -> Iterator[Source]:
    """What Sentry's clients say in a form: field by field, in JSON, or in JSON that was cut into pieces."""
    fields = {name: source.get(f"{SENTRY}[{name}]") for name in _Event.__struct_fields__}
    if any(fields.values()):
        yield fields
    for name in (SENTRY, f"{SENTRY}___initialScope", f"{SENTRY}___global"):
        yield from _objects(source.get(name))
    pieces: list[str] = []
    while len(pieces) < MAX_CHUNKS and isinstance(piece := source.get(f"{SENTRY}__{len(pieces) + 1}"), str):
        pieces.append(piece[:MAX_SENTRY])
    yield from _objects("".join(pieces))


def _objects(value: Any) -> Iterator[Source]:
    if isinstance(value, dict):
        yield value
    elif isinstance(value, str) and len(value) <= MAX_SENTRY and value.lstrip().startswith("{"):
        try:
            yield msgspec.structs.asdict(msgspec.json.decode(value, type=_Event))
        except (ValueError, RecursionError):
            return


def _event(data: bytes) -> Source:
    if len(data) > MAX_SENTRY:
        return {}
    try:
        return msgspec.structs.asdict(msgspec.msgpack.decode(data, type=_Event))
    except (ValueError, RecursionError):
        return {}


def _release(event: Source) -> tuple[str, str]:
    """Product and version of `my-editor@1.2.3`, or of `1.2.3`."""
    release = clean(event.get("release"))
    found = _RELEASE.fullmatch(release)
    return (found[1].strip(), found[2].strip()) if found else ("", release)

"""One crash report as it comes together: annotations, notes, names of its files. No I/O."""

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from lae_monitor.core.names import ClusterName, CrashId, HostName
from lae_monitor.core.redaction import redact
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.time import format_time
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.intake.wire import Part
from lae_monitor.kinds.crashes.limits import (
    MAX_DUMP_NAME,
    MAX_FILENAME,
    MAX_FILES,
    MAX_JSON_DEPTH,
    MAX_JSON_ITEMS,
    MAX_NOTES,
)
from lae_monitor.kinds.crashes.minidump import looking
from lae_monitor.kinds.crashes.program import Program, Source, program_of, sources_in

OURS: Final = frozenset({"metadata", "submitted_timestamp", "uuid", "version"})  # keys of the document that we set
RAW_CRASH: Final = "raw_crash.json"
RESERVED: Final = frozenset({"dump_names", "processed_crash", "raw_crash", RAW_CRASH})  # the Socorro family's own names
MINIDUMP: Final = "upload_file_minidump"
SCHEMA: Final = 2  # of the raw crash

# Text encodings that a client may name. Python knows more, and some of them are slow on hostile input.
_CHARSETS: Final = {
    "": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1",
    "latin-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16", "utf-16le": "utf-16-le",
}  # fmt: skip

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_to_json: Final = json.JSONEncoder(sort_keys=True).encode


class Report:
    """Collects what a report says; `raw_crash()` is the document that is stored with its dumps.

    Args:
        unkept: annotations that will not be stored; they do not say which program it is either.
    """

    def __init__(self, unkept: Collection[str] = ()) -> None:
        self.program = Program()
        self.notes: list[str] = []
        self._unkept = frozenset(unkept)
        self.checksums: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.filenames: dict[str, str] = {}
        self._fields: dict[str, str] = {}
        self._json: dict[str, Any] = {}
        self._has_json = False
        self._names: set[str] = {RAW_CRASH}

    def note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)
        elif len(self.notes) == MAX_NOTES:
            self.notes.append("more notes were dropped")

    # ---- annotations -----------------------------------------------------------------------------------------------

    def annotate(self, part: Part, value: bytes) -> None:
        """Takes an annotation; `part` is not a file.

        Raises:
            Refused: `malformed_invalid_json`, `malformed_invalid_json_value`.
        """
        if part.plain and part.name not in self._fields and self._took(part.name, value):
            return
        if part.media == "application/json":
            self.merge(value)
        elif part.name == "extra" and part.filename is None and not part.media and value.lstrip().startswith(b"{"):
            try:
                self.merge(value)
            except Refused:  # nobody said that it is JSON
                self.set(part.name, self._text(part, value))
        elif not part.name:
            self.note("a part without a name was dropped")
        else:
            self.set(part.name, self._text(part, value))

    def _took(self, name: str, value: bytes) -> bool:
        """The short way of what nearly every annotation is: UTF-8 without NUL."""
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return False
        if "\0" in text:
            return False
        self._fields[name] = text
        return True

    def set(self, name: str, text: str) -> None:
        if name in self._fields:
            self.note(f"{shorten(name)} came more than once, the last one counts")
        self._fields[name] = text

    def merge(self, value: bytes) -> None:
        """Takes a JSON object of annotations.

        Raises:
            Refused: `malformed_invalid_json`, `malformed_invalid_json_value`.
        """
        if sum(map(value.count, b",[{")) > MAX_JSON_ITEMS:
            raise Refused("malformed_invalid_json", f"more than {MAX_JSON_ITEMS} items")
        try:
            parsed = _from_json(value)
        except (ValueError, RecursionError) as error:
            raise Refused("malformed_invalid_json", str(error)) from error
        if not isinstance(parsed, dict):
            raise Refused("malformed_invalid_json_value", type(parsed).__name__)
        if any(not _is_shallow(inner, MAX_JSON_DEPTH) for inner in parsed.values()):
            raise Refused("malformed_invalid_json", f"deeper than {MAX_JSON_DEPTH} levels")
        self._has_json = True
        for name, inner in parsed.items():
            if not isinstance(inner, str):
                self.note(f"{shorten(name)} is not text")
            if name in self._json:
                self.note(f"{shorten(name)} came more than once, the last one counts")
            self._json[self._without_nul(name, name)] = self._without_nul(name, inner)

    def _text(self, part: Part, value: bytes) -> str:
        charset = _CHARSETS.get(part.charset)
        if charset is None:
            self.note(f"{shorten(part.name)}: unknown charset {shorten(part.charset)}, read as UTF-8")
        try:
            text = value.decode(charset or "utf-8")
        except UnicodeDecodeError:
            self.note(f"{shorten(part.name)}: invalid {charset or 'utf-8'} was replaced")
            text = value.decode(charset or "utf-8", "replace")
        return str(self._without_nul(part.name, text))

    def _without_nul(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            self.note(f"{shorten(name)}: NUL was removed")
            return value.replace("\0", "")
        return value

    def remove(self, names: Iterable[str]) -> None:
        """Forgets annotations that are not to be kept."""
        for name in names:
            found = [fields.pop(name, None) is not None for fields in (self._fields, self._json)]
            if any(found):
                self.note(f"Removed {name} from raw crash.")

    def take(self, name: str) -> None:
        """Forgets an annotation that is not one: it was meant for the collector, which has made use of it."""
        self._fields.pop(name, None)
        self._json.pop(name, None)

    def read_program(self, inside: Iterable[Source] = ()) -> Program:
        """Sets `program`, as the reader will see it. `inside`: what the report's files say."""
        kept = {name: value for name, value in self.annotations.items() if name not in self._unkept}
        self.program = program_of(kept, inside)
        return self.program

    @property
    def annotations(self) -> dict[str, Any]:
        """All of them; where JSON and a field have the same name, JSON wins."""
        return {**self._fields, **self._json}

    # ---- files -----------------------------------------------------------------------------------------------------

    def name_of(self, part: Part) -> str:
        """The name under which a file is stored: the sender's, if it is one that cannot hurt, and never used twice.

        Secrets in names go here: once their slashes are gone, nobody would recognise them.

        Raises:
            Refused: `malformed_invalid_dump_name` for a reserved one, `malformed_too_many_parts`.
        """
        if len(self._names) > MAX_FILES:
            raise Refused("malformed_too_many_parts", f"limit {MAX_FILES} files")
        wanted = re.sub(r"[^A-Za-z0-9._-]", "_", redact(part.name)).lstrip("._-")[:MAX_DUMP_NAME]
        if wanted.casefold() in RESERVED:
            raise Refused("malformed_invalid_dump_name", raw=part.name)
        stem, number, name = (wanted, 1, wanted) if wanted else ("file", 1, "file-1")
        while name.casefold() in self._names:
            number += 1
            name = f"{stem}-{number}"
        if name != part.name:
            self.note(f"file {shorten(part.name)} is stored as {name}")
        self._names.add(name.casefold())
        if part.filename:
            self.filenames[name] = re.split(r"[/\\]", redact(part.filename))[-1][:MAX_FILENAME]
        return name

    def add_file(self, name: str, size: int, sha256: str) -> None:
        self.sizes[name] = size
        self.checksums[name] = sha256

    # ---- the document ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Compares what the report says of itself with what it is; differences become notes."""
        if self._has_json and self._fields:
            self.note("includes annotations in both json-encoded extra and formdata parts")
        claimed = str(self.annotations.get("MinidumpSha256Hash", "")).lower()
        if claimed and MINIDUMP in self.checksums and claimed != self.checksums[MINIDUMP]:
            self.note("MinidumpSha256Hash is not that of the minidump received")

    def raw_crash(self, crash_id: CrashId, received: float, envelope: dict[str, Any]) -> bytes:
        """`raw_crash.json`: the annotations, and what we know of the submission.

        Args:
            crash_id, received: given to it, and when.
            envelope: `metadata` that comes from the request and from the throttle rules.
        """
        annotations = self.annotations
        replaced = {name: annotations[name] for name in sorted(OURS & annotations.keys())}
        for name in replaced:
            self.note(f"{name} is set by the collector; the client's is in metadata.replaced")
        metadata = {
            "payload": "json" if self._has_json else "multipart",
            **envelope,
            "collector_notes": self.notes,
            "dump_checksums": self.checksums,
            "filenames": self.filenames,
            "replaced": replaced,
        }
        document = {
            **annotations,
            "submitted_timestamp": format_time(received, digits=6).replace("Z", "+00:00"),
            "uuid": str(crash_id),
            "version": SCHEMA,
            "metadata": metadata,
        }
        try:
            return _encode(document)
        except (
            UnicodeEncodeError,
            OverflowError,
        ):  # a lone surrogate, or a number beyond 64 bits: only this one knows them
            return _to_json(document).encode("ascii")


def envelope(
    *,
    peer: str,
    host: HostName,
    cluster: ClusterName,
    user_agent: str,
    size: int,
    compressed: bool,
    query: dict[str, str],
) -> dict[str, Any]:
    """What the request says beside the report."""
    return {
        "cluster": str(cluster),  # plain text: names have types of their own, which msgspec does not know
        "host": str(host),
        "peer": peer,
        "payload_compressed": "1" if compressed else "0",
        "payload_size": size,
        "query": query,
        "user_agent": user_agent or "None",
    }


class Digest:
    """The size and SHA-256 of a file as it passes by."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _from_json(value: bytes) -> Any:
    """JSON as lenient as clients need: lone surrogates pass, numbers that no JSON can hold become text."""
    return json.loads(value.decode("utf-8-sig"), parse_constant=str, parse_float=_finite)


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


# What a stored crash says of itself. Pure.
def annotations_in(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the sender said, by the names that came; `document` is a raw crash, ours or one of Antenna's or Socorro's."""
    metadata = document.get("metadata")
    replaced = metadata.get("replaced") if isinstance(metadata, dict) else None
    annotations = {name: value for name, value in document.items() if name not in OURS}
    return annotations | (replaced if isinstance(replaced, dict) else {})


def program_in(document: Mapping[str, Any], files: Mapping[str, bytes | memoryview], system: str = "") -> Program:
    """Which program a stored crash is of: the same as when it was admitted. `system`: that of the dump's headers."""
    looks = {name: looking(data) for name, data in files.items()}
    return program_of(annotations_in(document), sources_in(looks, MINIDUMP), system)


def is_same(data: bytes, annotations: Mapping[str, Any], checksums: Mapping[str, str]) -> bool:
    """Whether the zip `data` holds a report with these annotations, and with files of these SHA-256 sums by name."""
    try:
        document = json.loads(bytes(entries(data)[RAW_CRASH]))
        told = {name: value for name, value in document.items() if name not in OURS}
        ours = {name: value for name, value in annotations.items() if name not in OURS}
        return bool(document["metadata"]["dump_checksums"] == checksums and told == json.loads(json.dumps(ours)))
    except (Refused, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return False

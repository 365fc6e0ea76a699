"""One crash as it lies in the archive, checked before anybody gets it. Pure."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.report import RAW_CRASH, RESERVED, program_in

# Where the crashes of older systems lie, as paths and keys. Pure.
#
# Sources of the layouts: Socorro's file system storage, Antenna's file and object storage; see docs/crashmover.md.
MINIDUMP: Final = "upload_file_minidump"
HARD_DEPTH: Final = 4  # what the digit 0 stands for: ids that are older than the digit
DIGIT: Final = -7  # where it stands in an id


def depth_of(crash_id: CrashId) -> int:
    """How many radix folders the id's digit stands for.

    Collectors of the Socorro family write something else there, too: Antenna's 0 (accepted) leads four folders down, its 1
    (deferred) one. Readers of the tree go by this rule, whichever system made the id.
    """
    return int(crash_id[DIGIT]) or HARD_DEPTH


def radix_of(crash_id: CrashId) -> list[str]:
    """The folders `aa`, `bb`, ... of the tree by name."""
    return [crash_id[2 * number : 2 * number + 2] for number in range(depth_of(crash_id))]


def slot_of(now: float, interval: int) -> str:
    """The folder `HH/MM_S` of the tree by date for what is stored at `now` (seconds, UTC).

    Args:
        interval: seconds of a slot.
    """
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment.hour:02d}/{moment.minute:02d}_{moment.second // interval:02d}"


def object_keys(crash_id: CrashId, names: list[str], prefix: str) -> dict[str, str]:
    """The v1 key of each dump by its name; `dump_names` and `raw_crash` are there too, the last one last."""
    front = f"{prefix.strip('/')}/v1" if prefix.strip("/") else "v1"
    keys = {"dump_names": f"{front}/dump_names/{crash_id}"}
    keys |= {name: f"{front}/{'dump' if name == MINIDUMP else name}/{crash_id}" for name in names}
    return keys | {"raw_crash": f"{front}/raw_crash/{crash_id.day}/{crash_id}"}


DUMP_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}", re.ASCII)  # a checked part of a path, and of a key
DEFERRED: Final = 1  # legacy_processing of a crash that was put off
MAX_LEVELS: Final = 20  # of a dotted name that is redacted

Data = bytes | memoryview


@dataclass(frozen=True)
class Crash:
    """A crash that was read whole.

    `raw` is `raw_crash.json` byte for byte, `document` what it says, `dumps` the files by name.
    """

    crash_id: CrashId
    raw: bytes
    document: Mapping[str, Any]
    dumps: Mapping[str, Data]

    @property
    def names(self) -> list[str]:
        """The names of its dumps, sorted."""
        return sorted(self.dumps)

    @property
    def dump_names(self) -> bytes:
        """They as JSON, as Antenna writes them."""
        return json.dumps(self.names).encode("ascii")

    @property
    def metadata(self) -> Mapping[str, Any]:
        found = self.document.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def is_deferred(self) -> bool:
        """Whether the throttle rules put it off: by its legacy_processing, or else by the digit of its id."""
        for said in (self.metadata.get("legacy_processing"), self.document.get("legacy_processing")):
            if said is not None:
                return str(said) == str(DEFERRED)
        return self.crash_id[DIGIT] == str(DEFERRED)

    @property
    def product(self) -> str:
        return program_in(self.document, self.dumps).product

    @property
    def checksum(self) -> str:
        """SHA-256 over names and bytes of all that it holds."""
        digest = hashlib.sha256()
        for name, data in [(RAW_CRASH, self.raw), *((name, self.dumps[name]) for name in self.names)]:
            digest.update(f"{len(name)}:{name}:{len(data)}:".encode())
            digest.update(data)
        return digest.hexdigest()

    def redacted(self, keys: Sequence[str]) -> "Crash":
        """The crash without the annotations `keys`; itself when it has none of them."""
        document: Any = json.loads(self.raw)
        forgotten = [_forget(document, key.split(".")) for key in keys]
        if not any(forgotten):
            return self
        return Crash(self.crash_id, encode(document), document, self.dumps)


def encode(document: Mapping[str, Any]) -> bytes:
    """A raw crash as the Socorro family writes it: JSON, its keys sorted."""
    return json.dumps(document, sort_keys=True).encode("ascii")


def _forget(value: Any, path: list[str]) -> bool:
    """Removes what the dotted name `path` leads to; whether there was something.

    An annotation may hold an object as text, as Firefox's TelemetryEnvironment does; and its own name may have dots.
    """
    if len(path) > MAX_LEVELS:
        return False
    return any([_forget_in(found, path) for found in _objects(value)])  # noqa: C419 - in all of them, not in the first


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """`value` when it is an object, or those of a list, however deep in lists they are."""
    rest = [value]
    while rest:
        found = rest.pop()
        if isinstance(found, dict):
            yield found
        elif isinstance(found, list):
            rest.extend(found)


def _forget_in(value: dict[str, Any], path: list[str]) -> bool:
    name = ".".join(path)
    found = name in value
    value.pop(name, None)
    for end in range(1, len(path)):
        name, rest = ".".join(path[:end]), path[end:]
        inner = value.get(name)
        if isinstance(inner, str):
            text = _parsed(inner)
            if text is not None and _forget(text, rest):
                value[name] = json.dumps(text, sort_keys=True)
                found = True
        elif _forget(inner, rest):
            found = True
    return found


def _parsed(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def from_zip(crash_id: CrashId, data: bytes) -> Crash:
    """The crash in the zip `data` of the archive.

    Raises:
        Refused: `unreadable`: it is none, is not the one of that id, or its dumps are not those that were received.
    """
    files: dict[str, Data] = dict(entries(data))
    raw = files.pop(RAW_CRASH, None)
    if raw is None:
        raise Refused("unreadable", f"no {RAW_CRASH}")
    document = parse(bytes(raw))
    if document.get("uuid") != crash_id:
        raise Refused("unreadable", "its uuid is not the name of its file", raw=document.get("uuid"))
    metadata = document.get("metadata")
    checksums = metadata.get("dump_checksums") if isinstance(metadata, dict) else None
    if not isinstance(checksums, dict):
        raise Refused("unreadable", "no checksums of its dumps")
    check_names(files)
    check_dumps(files, checksums)
    return Crash(crash_id, bytes(raw), document, files)


def parse(raw: bytes) -> dict[str, Any]:
    """What a raw crash says.

    Raises:
        Refused: `unreadable`.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable", f"the raw crash: {shorten(repr(error))}") from error
    if not isinstance(document, dict):
        raise Refused("unreadable", "the raw crash is no object")
    return document


def check_names(dumps: Mapping[str, Data]) -> None:
    """
    Raises:
        Refused: `unreadable`: a name could not be part of a path, or is one that the layouts use themselves.
    """
    for name in dumps:
        if not DUMP_NAME.fullmatch(name) or name.casefold() in RESERVED:
            raise Refused("unreadable", "name of a dump", raw=name)


def check_dumps(dumps: Mapping[str, Data], checksums: Mapping[str, Any]) -> None:
    """Compares each dump with what the raw crash says of it: SHA-256 or MD5, told by their length.

    Raises:
        Refused: `unreadable`: a dump is missing, or is not what it was.
    """
    for name, said in checksums.items():
        if name not in dumps:
            raise Refused("unreadable", "a dump is missing", raw=name)
        text = str(said).lower()
        if len(text) == 64:
            found = hashlib.sha256(dumps[name]).hexdigest()
        elif len(text) == 32:
            found = hashlib.md5(dumps[name], usedforsecurity=False).hexdigest()
        else:
            continue
        if found != text:
            raise Refused("unreadable", "a dump is not what its checksum says", raw=name)

"""An older system's crash as our own collector would have stored it. Pure."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from lae_monitor.core.names import ClusterName, CrashId, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import EARLIEST, format_time, parse_time
from lae_monitor.kinds.crashes.container import Writer
from lae_monitor.kinds.crashes.crashmover.crash import Crash, Data, check_dumps, check_names, encode, parse
from lae_monitor.kinds.crashes.report import OURS, RAW_CRASH, SCHEMA

UNKNOWN_HOST: Final = HostName("imported")  # whose crash it is nobody says


def adopt(
    crash_id: CrashId,
    raw: bytes,
    dumps: Mapping[str, Data],
    *,
    where: str,
    cluster: ClusterName,
    host: HostName | None,
) -> Crash:
    """The crash with the metadata that readers of our archive want.

    Args:
        where: it was found, for a note.
        cluster: of whom it is, unless it says so itself.
        host: the same; None for what it says, or nobody.

    Raises:
        Refused: `unreadable`: it is damaged, or is not the crash of that id.
    """
    document = parse(raw)
    if document.get("uuid") not in [None, crash_id, f"bp-{crash_id}"]:  # a list: it may be anything
        raise Refused("unreadable", "its uuid is another one", raw=document.get("uuid"))
    check_names(dumps)
    metadata = _metadata(document)
    for sums in (metadata.get("dump_checksums"), document.get("dump_checksums")):
        if isinstance(sums, dict):
            check_dumps(dumps, sums)
    metadata |= {
        "cluster": _cluster(metadata, cluster),
        "host": host or _host(metadata),
        "collector_notes": [*metadata["collector_notes"], f"imported from {where}"],
        "dump_checksums": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(dumps.items())},
    }
    timestamp = format_time(received(crash_id, document), digits=6).replace("Z", "+00:00")
    ours = {"submitted_timestamp": timestamp, "uuid": crash_id, "version": SCHEMA, "metadata": metadata}
    adopted = {**document, **ours}
    try:
        return Crash(crash_id, encode(adopted), adopted, dict(dumps))
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable", str(error)) from error


def _metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    """What its own collector noted, in the form that ours has."""
    said = document.get("metadata")
    metadata = dict(said) if isinstance(said, dict) else {}
    notes, replaced = metadata.get("collector_notes"), metadata.get("replaced")
    metadata["collector_notes"] = notes if isinstance(notes, list) else []
    metadata["replaced"] = (replaced if isinstance(replaced, dict) else {}) | _replaced(document)
    metadata.setdefault("payload", "unknown")
    if str(document.get("legacy_processing")) in {"0", "1"}:
        metadata.setdefault("legacy_processing", int(document["legacy_processing"]))
    return metadata


def _replaced(document: Mapping[str, Any]) -> dict[str, Any]:
    """What stands under the names that are ours, and is not what we would have there."""
    found = {name: document[name] for name in OURS & document.keys()}
    if isinstance(found.get("metadata"), dict):
        del found["metadata"]
    if found.get("version") == SCHEMA:
        del found["version"]
    return {name: value for name, value in found.items() if name not in {"uuid", "submitted_timestamp"}}


def _cluster(metadata: Mapping[str, Any], otherwise: ClusterName) -> ClusterName:
    try:
        return ClusterName(metadata["cluster"])
    except (KeyError, Refused):
        return otherwise


def _host(metadata: Mapping[str, Any]) -> HostName:
    try:
        return HostName(metadata["host"])
    except (KeyError, Refused):
        return UNKNOWN_HOST


def received(crash_id: CrashId, document: Mapping[str, Any]) -> float:
    """When it was received, in seconds: by its timestamps, or else the day in its id.

    Raises:
        Refused: `unreadable`.
    """
    try:
        day = parse_time(crash_id.day)
    except Refused:
        raise Refused("unreadable", "there is no such day as that of its id", raw=crash_id.day) from None
    for text in (document.get("submitted_timestamp"), document.get("timestamp")):
        try:
            found = parse_time(text) if isinstance(text, str) and "-" in text else float(str(text))
        except (Refused, ValueError):
            continue
        if EARLIEST <= found < day + 366 * 86400:
            return found
    return day


def packed(crash: Crash) -> list[bytes]:
    """The zip of the archive, in pieces."""
    pieces: list[bytes] = []
    writer = Writer(pieces.append, received(crash.crash_id, crash.document))
    for name in crash.names:
        writer.add(name, bytes(crash.dumps[name]))
    writer.add(RAW_CRASH, crash.raw)
    writer.finish()
    return pieces


def is_same(one: Crash, other: Crash, missing: Collection[str]) -> bool:
    """Whether two are the same crash: dumps byte for byte (those `missing` of the other are not compared), annotations too.

    What collectors noted may differ: one of them was imported before.
    """
    dumps = {name: bytes(data) for name, data in one.dumps.items() if name not in missing}
    if dumps != {name: bytes(data) for name, data in other.dumps.items()}:
        return False
    ignored = {*OURS, "dump_checksums"}
    theirs = [{name: value for name, value in crash.document.items() if name not in ignored} for crash in (one, other)]
    return theirs[0] == theirs[1]

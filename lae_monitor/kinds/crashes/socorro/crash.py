"""One crash as Socorro's programs ask for it: the raw crash, its dumps, and what is known of it without symbols.

What has no row yet is found by its id in the archive: the folder is the day that the id ends with.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.archive import Archive
from lae_monitor.core.limits import MiB
from lae_monitor.core.names import CrashId
from lae_monitor.core.redaction import redacted
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Span
from lae_monitor.core.secrets import HIDDEN
from lae_monitor.core.time import format_time
from lae_monitor.kinds.crashes.container import entries, path_of
from lae_monitor.kinds.crashes.read import PRIVATE
from lae_monitor.kinds.crashes.read import read as read_crash
from lae_monitor.kinds.crashes.report import MINIDUMP, RAW_CRASH
from lae_monitor.query.reports import find
from lae_monitor.store import Store, StoreError

PREFIX: Final = "bp-"
MAX_TAKEN_APART: Final = 64 * MiB  # bytes of a crash in memory; a larger one is to be saved whole

# Socorro's name -> the annotation that it is made from, where that has another name, or one of several.
_FROM_ANNOTATIONS: Final = {
    "build": ("BuildID",),
    "uptime": ("UptimeTS",),
    "user_comments": ("Comments", "comments"),
    "moz_crash_reason": ("MozCrashReason",),
    "vendor": ("Vendor",),
    "distribution_id": ("DistributionID",),
    "startup_crash": ("StartupCrash",),
    "abort_message": ("AbortMessage",),
    "ipc_channel_error": ("ipc_channel_error",),
    "ipc_message_name": ("IPCMessageName",),
    "async_shutdown_timeout": ("AsyncShutdownTimeout",),
    "oom_allocation_size": ("OOMAllocationSize",),
    "java_stack_trace": ("JavaStackTrace",),
    "additional_minidumps": ("additional_minidumps",),
    "guid": ("guid",),
}
_FROM_ATTRIBUTES: Final = {
    "product": "product",
    "version": "version",
    "release_channel": "channel",
    "process_type": "process",
    "cpu_arch": "dump.cpu",
    "reason": "dump.reason",
    "address": "dump.address",
    "crashing_module": "dump.module",
    "crashing_module_offset": "dump.offset",
    "minidump_valid": f"{MINIDUMP}.valid",
}


class Stored(NamedTuple):
    """A crash in memory: `document` is raw_crash.json, `dumps` its other files, `event` what the reader makes of it."""

    crash_id: CrashId
    document: dict[str, Any]
    dumps: dict[str, memoryview]
    event: Event


def crash_id_of(text: str) -> CrashId:
    """
    Raises:
        Refused: `bad_crash_id`.
    """
    return CrashId(text.removeprefix(PREFIX))


async def has_row(store: Store, crash_id: CrashId) -> bool:
    """Whether searches find the crash.

    Raises:
        StoreError
    """
    sql = "SELECT 1 AS one FROM {lae}.events WHERE id = {id:String} AND kind = 'crash' LIMIT 1"
    return bool(await store.query(sql, {"id": crash_id}))


async def is_stored(archive: Archive, crash_id: CrashId) -> bool:
    """Whether the archive has the crash under the path of its id."""
    try:
        return bool(await archive.read(Span(path_of(crash_id), 0, 4)))
    except FileNotFoundError:
        return False


async def stored(store: Store, archive: Archive, crash_id: CrashId) -> Stored:
    """
    Raises:
        Refused: `no_such_report`; `unreadable` when the zip is damaged; `body_too_large` beyond MAX_TAKEN_APART.
    """
    span = Span(path_of(crash_id), 0, MAX_TAKEN_APART + 1)
    try:
        data = await archive.read(span)
    except FileNotFoundError:
        data = await _read_by_row(store, archive, crash_id)
    if len(data) > MAX_TAKEN_APART:
        raise Refused(
            "body_too_large", f"beyond {MAX_TAKEN_APART} bytes; /api/reports/{crash_id}/original has it whole"
        )
    return await asyncio.to_thread(_taken_apart, crash_id, data)


async def _read_by_row(store: Store, archive: Archive, crash_id: CrashId) -> bytes:
    """The crash where its row says that it lies: it may have got another name on its way home."""
    try:
        found, _ = await find(store, crash_id)
        return await archive.read(Span(found.file, found.offset, min(found.offset + found.length, MAX_TAKEN_APART + 1)))
    except (FileNotFoundError, StoreError) as error:
        raise Refused("no_such_report", raw=str(crash_id)) from error


def _taken_apart(crash_id: CrashId, data: bytes) -> Stored:
    files = entries(data)
    (event,) = read_crash(Span(path_of(crash_id), 0, len(data)), data)
    if not isinstance(event, Event) or event.id != crash_id:
        raise Refused("unreadable", "another crash has this name")
    document = json.loads(bytes(files.pop(RAW_CRASH)))
    return Stored(crash_id, document, files, event)


def raw_crash(crash: Stored) -> dict[str, Any]:
    """The document as it is stored, without what is private and what opens doors."""
    found: dict[str, Any] = redacted(_without_private(crash.document))
    return found


def _without_private(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: HIDDEN if name in PRIVATE else _without_private(inner) for name, inner in value.items()}
    return [_without_private(inner) for inner in value] if isinstance(value, list) else value


def processed_crash(crash: Stored) -> dict[str, Any]:
    """What is known of the crash without symbols, by the names of Socorro's processed crash; see its schema of that name."""
    raw, event = raw_crash(crash), redacted(crash.event)
    metadata: Mapping[str, Any] = raw.get("metadata", {})
    attrs = event.attrs
    os_name, _, os_version = attrs.get("dump.os", "").partition(" ")
    notes = [attrs["dump.problem"]] if "dump.problem" in attrs else []
    found: dict[str, Any] = {
        "uuid": str(crash.crash_id),
        "signature": attrs["signature"],
        "signature_debug": attrs["signature.why"],
        "date_processed": format_time(event.received, digits=6),
        "submitted_timestamp": raw["submitted_timestamp"],
        "client_crash_date": format_time(event.time, digits=6),
        "os_name": os_name,
        "os_version": os_version,
        "os_pretty_version": attrs.get("dump.os", ""),
        "collector_metadata": metadata,
        "minidump_sha256_hash": metadata.get("dump_checksums", {}).get(MINIDUMP),
        "processor_notes": "\n".join(
            [*notes, "not processed by Socorro: read from the report and the minidump's headers"]
        ),
        "success": True,
        "host": str(event.host),
        "cluster": str(event.cluster),
        "group": event.group,
    }
    found |= {name: attrs[attribute] for name, attribute in _FROM_ATTRIBUTES.items() if attribute in attrs}
    for name, annotations in _FROM_ANNOTATIONS.items():
        value = next((raw[one] for one in annotations if raw.get(one) not in (None, "")), None)
        if value is not None:
            found[name] = value
    return found

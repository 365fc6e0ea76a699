"""What a stored crash says of itself. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.minidump import looking
from lae_monitor.kinds.crashes.program import Program, program_of, sources_in
from lae_monitor.kinds.crashes.report import MINIDUMP, OURS, RAW_CRASH


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

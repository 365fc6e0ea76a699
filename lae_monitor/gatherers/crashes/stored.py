"""What a stored crash says of itself. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from lae_monitor.core.refusals import Refused
from lae_monitor.gatherers.crashes.container import entries
from lae_monitor.gatherers.crashes.report import OURS, RAW_CRASH


def is_same(data: bytes, annotations: Mapping[str, Any], checksums: Mapping[str, str]) -> bool:
    """Whether the zip `data` holds a report with these annotations, and with files of these SHA-256 sums by name."""
    try:
        document = json.loads(bytes(entries(data)[RAW_CRASH]))
        told = {name: value for name, value in document.items() if name not in OURS}
        ours = {name: value for name, value in annotations.items() if name not in OURS}
        return bool(document["metadata"]["dump_checksums"] == checksums and told == json.loads(json.dumps(ours)))
    except (Refused, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return False

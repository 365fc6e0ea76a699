"""What a stored crash says of itself. Pure."""

import json

from lae_monitor.core.refusals import Refused
from lae_monitor.gatherers.crashes.container import entries
from lae_monitor.gatherers.crashes.report import RAW_CRASH


def checksums(data: bytes) -> dict[str, str]:
    """The SHA-256 of each file in the zip `data`, as they were noted on receipt; none for what is no crash of ours."""
    try:
        document = json.loads(bytes(entries(data)[RAW_CRASH]))
        return {str(name): str(digest) for name, digest in document["metadata"]["dump_checksums"].items()}
    except (Refused, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}

"""A crash as a form, the way its client sent it. Pure."""

import gzip
import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from lae_monitor import __version__
from lae_monitor.gatherers.crashes.crashmover.crash import Crash, Data
from lae_monitor.gatherers.crashes.report import OURS


def annotations_of(crash: Crash) -> dict[str, Any]:
    """What its client said: without what the collector added, and with what the collector replaced."""
    replaced = crash.metadata.get("replaced")
    theirs = {name: value for name, value in crash.document.items() if name not in OURS}
    return theirs | (replaced if isinstance(replaced, dict) else {})


def form_of(crash: Crash, *, keeps_id: bool, compress: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST.

    Args:
        keeps_id: sends the crash id along, as `uuid`.
        compress: the whole body by gzip.
    """
    told = annotations_of(crash)
    told.pop("uuid", None)
    if keeps_id:
        told["uuid"] = str(crash.crash_id)
    boundary = "-" * 24 + secrets.token_hex(16)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "User-Agent": f"lae-monitor/{__version__}",
    }
    body = b"".join(_pieces(boundary, _parts(crash, told)))
    if compress:
        headers["Content-Encoding"], body = "gzip", gzip.compress(body, 6)
    return headers, body


def _parts(crash: Crash, told: dict[str, Any]) -> Iterator[tuple[str, Data]]:
    """Annotations that are not all text go as Firefox sends them, in one piece of JSON."""
    if all(isinstance(value, str) for value in told.values()):
        for name, value in told.items():
            yield f'name="{_escape(name)}"', value.encode("utf-8", "replace")
    else:
        yield 'name="extra"; filename="extra.json"\r\nContent-Type: application/json', json.dumps(told).encode("ascii")
    filenames = crash.metadata.get("filenames")
    known = filenames if isinstance(filenames, dict) else {}
    for name, data in crash.dumps.items():
        filename = str(known.get(name, f"{name}.dmp"))
        head = f'name="{_escape(name)}"; filename="{_escape(filename)}"\r\nContent-Type: application/octet-stream'
        yield head, data


def _pieces(boundary: str, parts: Iterator[tuple[str, Data]]) -> Iterator[Data]:
    for head, data in parts:
        yield f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode("utf-8", "replace")
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _escape(name: str) -> str:
    return re.sub(r'["%\r\n]', lambda found: f"%{ord(found[0]):02x}", name)

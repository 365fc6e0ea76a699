"""A crash report as a client sends it: multipart/form-data, names escaped as Crashpad does. Pure. See docs/crashes.md."""

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lae_monitor import __version__


class File(NamedTuple):
    """A file of a report: a dump, or what came beside it."""

    name: str
    filename: str
    data: bytes | memoryview


def form(annotations: Mapping[str, Any], files: Iterable[File]) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST. Annotations that are not all text go as Firefox sends them, in one piece of JSON."""
    boundary = "-" * 24 + secrets.token_hex(16)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "User-Agent": f"lae-monitor/{__version__}",
    }
    return headers, b"".join(_pieces(boundary, annotations, files))


def _pieces(boundary: str, annotations: Mapping[str, Any], files: Iterable[File]) -> Iterator[bytes | memoryview]:
    for head, data in _parts(annotations, files):
        yield f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode("utf-8", "replace")
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _parts(annotations: Mapping[str, Any], files: Iterable[File]) -> Iterator[tuple[str, bytes | memoryview]]:
    if all(isinstance(value, str) for value in annotations.values()):
        for name, value in annotations.items():
            yield f'name="{_escape(name)}"', value.encode("utf-8", "replace")
    else:
        head = 'name="extra"; filename="extra.json"\r\nContent-Type: application/json'
        yield head, json.dumps(annotations).encode("ascii")
    for name, filename, data in files:
        head = f'name="{_escape(name)}"; filename="{_escape(filename)}"\r\nContent-Type: application/octet-stream'
        yield head, data


def _escape(name: str) -> str:
    return re.sub(r'["%\r\n]', lambda found: f"%{ord(found[0]):02x}", name)

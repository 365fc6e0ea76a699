"""Whether what runs here truly answers: each listener is asked in its own language, as its clients ask it.

A unit that is active, a port that is open, say little; a gatherer whose disk is full has both.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from lae_monitor.config import Settings
from lae_monitor.config.meaning import Address, addresses
from lae_monitor.net.tubs_identity import CERTIFICATE, tub_id
from lae_monitor.service.surroundings import Finding, runs

PATIENCE: Final = 5.0  # seconds for one answer on our own host
FOOLSCAP: Final = "incidents"
MAX_HEAD: Final = 4096  # bytes of the answer to a negotiation

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is asked instead


def part_of(process: str) -> str:
    """`crashes` of `gather-crashes`, `serve` of `serve`."""
    return process.removeprefix("gather-")


def parts(settings: Settings) -> list[str]:
    """What can be asked: `serve` and the gatherers, as they are configured."""
    return [part_of(address.process) for address in addresses(settings)]


def ask(settings: Settings, wanted: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Asks every part in `wanted`, or else every one that runs."""
    found = False
    for address in addresses(settings):
        part = part_of(address.process)
        running = runs(settings.state.path, address.process)
        if part not in wanted and (wanted or not running):
            continue
        found = True
        if running:
            yield _answer(settings, part, address)
        else:
            yield Finding(
                "problem", part, f"does not run; start it: systemctl start lae-monitor-{part}, or lae-monitor run"
            )
    if not found:
        yield Finding("problem", "serve", f"nothing runs on {settings.state.path}; start it: lae-monitor run")


def _answer(settings: Settings, part: str, address: Address) -> Finding:
    host = _ANYWHERE.get(address.host, address.host)
    where = f"{host}:{address.port}"
    try:
        if part == FOOLSCAP:
            wanted = tub_id((settings.credentials / FOOLSCAP / CERTIFICATE).read_bytes())
            return _foolscap(part, host, address.port, wanted)
        return _http(part, host, address.port)
    except (OSError, http.client.HTTPException) as error:
        return Finding("problem", part, f"{where} does not answer: {error or type(error).__name__}")
    except ValueError as error:
        return Finding("problem", part, f"{where} answers what nothing of ours does: {error}")


def _http(part: str, host: str, port: int) -> Finding:
    """`/__heartbeat__`: red when no root of the archive was written and synced lately."""
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/__heartbeat__")
        answer = connection.getresponse()
        told = json.loads(answer.read())
    if answer.status == http.client.OK:
        return Finding("ok", part, f"{host}:{port} answers, and writes to its archive")
    errors = "; ".join(f"{error['name']}: {error['msg']}" for error in told.get("errors", ()))
    return Finding("problem", part, f"{host}:{port} answers, and cannot write: {errors or answer.status}")


def _foolscap(part: str, host: str, port: int, wanted: str) -> Finding:
    """A negotiation up to the certificate, whose hash has to be the TubID of our FURLs."""
    where = f"{host}:{port}"
    with socket.create_connection((host, port), PATIENCE) as plain:
        plain.sendall(f"GET /id/{wanted} HTTP/1.1\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = plain.recv(MAX_HEAD)
            head += piece
            if not piece or len(head) > MAX_HEAD:
                raise ValueError(repr(head[:80]))
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ValueError(repr(head.partition(b"\r\n")[0][:80]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it vouches for itself: its hash is what counts
        with context.wrap_socket(plain) as encrypted:
            der = encrypted.getpeercert(binary_form=True) or b""
    found = tub_id(ssl.DER_cert_to_PEM_cert(der).encode())
    if found != wanted:
        return Finding("problem", part, f"{where} is tub {found}, and our FURLs name {wanted}; restart the gatherer")
    return Finding("ok", part, f"{where} is the tub that our FURLs name")

"""Whether what runs here truly answers: each listener is asked in its own language, as its clients ask it.

A unit that is active, a port that is open, say little; a gatherer whose disk is full has both.
"""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from lae_monitor.config import Settings
from lae_monitor.config.meaning import Address, addresses
from lae_monitor.core.refusals import shorten
from lae_monitor.fleet.running import runs
from lae_monitor.net.tubs.identity import CERTIFICATE, tub_id
from lae_monitor.service.surroundings import Finding

PATIENCE: Final = 5.0  # seconds for one whole answer on our own host
MAX_HEAD: Final = 4096  # bytes of the answer to a negotiation
MAX_BODY: Final = 65536  # bytes of a heartbeat; a root takes some hundred
MAX_SAID: Final = 300  # characters of what a listener says went wrong

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is asked instead


class _Foreign(Exception):
    """Nothing of ours answers like that."""


def part_of(process: str) -> str:
    """`crashes` of `gather-crashes`, `serve` of `serve`."""
    return process.removeprefix("gather-")


def ask(settings: Settings, wanted: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Asks every part in `wanted`, or else every one that runs; one that ran here before and does not is a warning then."""
    found = False
    ended: list[Finding] = []
    for address in addresses(settings):
        part = part_of(address.process)
        if wanted and part not in wanted:
            continue
        if runs(settings.state.path, address.process):
            found = True
            yield _answer(settings, part, address)
        elif wanted:
            found = True
            yield Finding("problem", part, f"does not run; {_start(part)}")
        elif (settings.state.path / f"{address.process}.lock").exists():
            ended.append(Finding("warning", part, f"ran here before, and does not now; if it should, {_start(part)}"))
    yield from ended
    if not found:
        yield Finding("problem", "serve", f"nothing runs on {settings.state.path}; start it: lae-monitor run")


def _start(part: str) -> str:
    return f"start it: systemctl start lae-monitor-{part}, or lae-monitor run"


def _answer(settings: Settings, part: str, address: Address) -> Finding:
    if address.port == 0:
        return Finding(
            "warning", part, f"runs, and listens on any free port: give {address.key} a port, to have it asked"
        )
    host = _ANYWHERE.get(address.host, address.host)
    where = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    wanted = ""
    if address.is_tub:
        certificate = settings.credentials / part / CERTIFICATE
        try:
            wanted = tub_id(certificate.read_bytes())
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            return Finding(
                "problem", part, f"{certificate}: {said}; put the certificate back that FURLs were made with"
            )
    try:
        with socket.create_connection((host, address.port), PATIENCE) as connected, _cut_off(connected) as cut:
            try:
                return _foolscap(part, where, connected, wanted) if wanted else _http(part, where, connected)
            except (OSError, http.client.HTTPException, _Foreign) as error:
                if cut.is_set() or isinstance(error, TimeoutError):  # whichever of the two clocks was first
                    raise TimeoutError(f"no whole answer within {PATIENCE:g} s") from None
                raise
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        return Finding("problem", part, f"{where} does not answer: {said}; {_who(address)}")
    except (http.client.HTTPException, _Foreign) as error:
        return Finding(
            "problem", part, f"{where} answers what nothing of ours does: {shorten(str(error))}; {_who(address)}"
        )


def _who(address: Address) -> str:
    return f"see who listens there: ss -ltnp 'sport = :{address.port}'"


@contextmanager
def _cut_off(connected: socket.socket) -> Iterator[threading.Event]:
    """Ends the connection after PATIENCE, however steadily it drips; the event says that it did."""
    cut = threading.Event()
    with connected.dup() as ours:  # TLS takes the other one over

        def end() -> None:
            cut.set()
            with suppress(OSError):  # it is closed already
                ours.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(PATIENCE, end)
        timer.start()
        try:
            yield cut
        finally:
            timer.cancel()
            timer.join()


def _http(part: str, where: str, connected: socket.socket) -> Finding:
    """`/__heartbeat__`: red when no root of the archive was written and synced lately; it may tell of something else."""
    with closing(http.client.HTTPConnection(where, timeout=PATIENCE)) as connection:
        connection.sock = connected
        connection.request("GET", "/__heartbeat__")
        answer = connection.getresponse()
        body = answer.read(MAX_BODY)
    try:
        told: Any = json.loads(body)
        errors = "; ".join(f"{error['name']}: {error['msg']}" for error in told["errors"])
        roots = told["roots"]
        warnings = "; ".join(map(str, told.get("warnings", ())))  # earlier releases have none
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _Foreign(f"{answer.status} {body[:40]!r}") from None
    if answer.status == http.client.OK and roots and not errors and warnings:
        said = shorten(warnings, MAX_SAID).strip("'\"")
        return Finding("problem", part, f"{where} answers, but {said}; its log says more")
    if answer.status == http.client.OK and roots and not errors:
        return Finding("ok", part, f"{where} answers, and writes to its archive")
    said = shorten(errors or str(answer.status), MAX_SAID).strip("'\"")
    return Finding("problem", part, f"{where} answers, and cannot write: {said}")


def _foolscap(part: str, where: str, plain: socket.socket, wanted: str) -> Finding:
    """A negotiation up to the certificate, whose hash has to be the TubID of our FURLs."""
    plain.sendall(f"GET /id/{wanted} HTTP/1.1\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = plain.recv(MAX_HEAD)
        head += piece
        if not piece or len(head) > MAX_HEAD:
            raise _Foreign(repr(head[:40]))
    if b"unknown TubID" in head:
        return _other(part, where, wanted)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise _Foreign(repr(head.partition(b"\r\n")[0][:40]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it vouches for itself: its hash is what counts
    try:
        with context.wrap_socket(plain) as encrypted:
            der = encrypted.getpeercert(binary_form=True) or b""
    except ssl.SSLError as error:
        raise _Foreign(f"no TLS: {error.reason or error}") from None
    if tub_id(ssl.DER_cert_to_PEM_cert(der).encode()) != wanted:
        return _other(part, where, wanted)
    return Finding("ok", part, f"{where} is the tub that our FURLs name")


def _other(part: str, where: str, wanted: str) -> Finding:
    return Finding(
        "problem",
        part,
        f"{where} is not tub {wanted}, as {CERTIFICATE} and new FURLs have it: was the certificate replaced? "
        "Put back the one that FURLs were made with, or restart the gatherer to take this one",
    )

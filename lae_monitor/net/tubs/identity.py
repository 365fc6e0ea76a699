"""What a tub is known by: its certificate, and where it is reached.

The certificate is self-signed. Its hash is the TubID, the part of every FURL that cannot be forged.

No Twisted here unless a certificate has to be made: a command that only shows a FURL stays quick.
"""

import base64
import hashlib
import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.archive.small_files import read_or_make
from lae_monitor.core.refusals import Refused

CERTIFICATE: Final = "gatherer.pem"  # in the folder of a kind's credentials
HANDED: Final = "CREDENTIALS_DIRECTORY"  # where systemd puts what LoadCredential= names, for the process alone

_LISTEN: Final = re.compile(r"tcp:([0-9]{1,5})(?::interface=(\S+))?")
_HINT: Final = re.compile(r"(?:tcp:)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})")
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)


class Identity(NamedTuple):
    """A tub's certificate with its private key, as PEM, and the TubID that follows from it."""

    pem: bytes
    tub_id: str

    def __repr__(self) -> str:
        return f"Identity({self.tub_id})"


def identity(path: Path) -> Identity:
    """The identity kept in `path`; made there if it is missing, once, even when several processes ask.

    Raises:
        Refused: `bad_config` when the file is no certificate with its private key.
    """
    pem, _ = read_or_make(path, _new_certificate)
    try:
        found = Identity(pem, tub_id(pem))
        _try(path)
    except ValueError as error:
        raise Refused("bad_config", f"{path}: no certificate in PEM form") from error
    except OSError as error:
        raise Refused("bad_config", f"{path}: cannot be used: {error.strerror or error}") from error
    return found


def adopt(path: Path, given: Path) -> None:
    """Makes the identity in `given`, if there is such a file, the one in `path`: nodes go on reporting to a new host.

    Raises:
        Refused: `bad_config` when it is no certificate with its key, or `path` holds another one: FURLs may have been made
            with it.
    """
    try:
        pem = given.read_bytes()
        wanted = tub_id(pem)
        _try(given)
    except FileNotFoundError:
        return
    except ValueError as error:
        raise Refused("bad_config", f"{given}: no certificate in PEM form") from error
    except OSError as error:
        raise Refused("bad_config", f"{given}: cannot be used: {error.strerror or error}") from error
    read_or_make(path, lambda: pem)
    if identity(path).tub_id != wanted:
        why = "FURLs that were given out name the one that is there; remove it to take the other, or hand over none"
        raise Refused("bad_config", f"{path} is another identity than the one handed over: {why}")


def tub_id(pem: bytes) -> str:
    """Base32 of the SHA-1 of the DER certificate, as Foolscap defines it: 32 characters.

    Raises:
        ValueError: there is no certificate in `pem`.
    """
    found = _CERTIFICATE.search(pem.decode("ascii").replace("\r\n", "\n"))
    if found is None:
        raise ValueError("no certificate")
    der = ssl.PEM_cert_to_DER_cert(found[0])
    return base64.b32encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode().lower()


def _try(pem: Path) -> None:
    """What is kept once is kept for good, so it has to be whole.

    Raises:
        OSError: the certificate cannot be used, has no private key beside it, or that of another one.
        ValueError: the key is encrypted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(pem, password=lambda: "")  # nobody is there to ask for it
    except ssl.SSLError as error:
        why = (error.reason or "no private key, or an encrypted one").replace("_", " ").lower()
        raise OSError(error.errno, f"certificate and private key: {why}") from error


def _new_certificate() -> bytes:
    from foolscap import crypto  # noqa: PLC0415 - brings Twisted; and a certificate is made once

    pem: bytes = crypto.createCertificate().dumpPEM()  # type: ignore[no-untyped-call]
    return pem


# ---- where it is reached -------------------------------------------------------------------------------------------


class Listen(NamedTuple):
    """A TCP port to listen on; no interface means all of IPv4, port 0 any free one."""

    port: int
    interface: str = ""


def parse_listen(text: str) -> Listen:
    r"""`tcp:3118`, `tcp:3118:interface=127.0.0.1`, `tcp:3118:interface=\:\:1`: a Twisted endpoint description.

    Raises:
        Refused: `bad_config`.
    """
    found = _LISTEN.fullmatch(text.strip())
    if found is None or int(found[1]) > 65535:
        raise Refused("bad_config", 'not understood: write "tcp:PORT" or "tcp:PORT:interface=ADDRESS"', raw=text)
    return Listen(int(found[1]), (found[2] or "").replace("\\:", ":"))


def parse_location(text: str) -> list[tuple[str, int]]:
    """Host and port of each hint of a location such as `tcp:monitoring.example:3118`, several separated by commas.

    Raises:
        Refused: `bad_config`.
    """
    hints = []
    for hint in text.strip().split(","):
        found = _HINT.fullmatch(hint)
        if found is None or not 0 < int(found[2]) <= 65535:
            raise Refused("bad_config", 'needs a host and a port: write "tcp:HOST:PORT"', raw=text)
        hints.append((found[1].strip("[]"), int(found[2])))
    return hints

"""Names that cannot be built wrong. Every path in the archive is made of these and of nothing else.

Each is a `str` whose constructor raises `Refused`; a value of the type is therefore safe as one component of a path: no
separator, no NUL, no leading dot or dash, at most 200 bytes, plain ASCII.
"""

import base64
import hashlib
import ipaddress
import re
import secrets
import time
from typing import ClassVar, Final, NamedTuple, Self

from lae_monitor.core.refusals import Refused

MAX_NAME = 200  # characters; a component may be 255 bytes, and we add suffixes of our own


def usual_address(text: str) -> str:
    """An IP address in the one spelling in which addresses are compared: without its zone, IPv4 within IPv6 as IPv4.

    Raises:
        ValueError: it is no IP address.
    """
    parsed = ipaddress.ip_address(text.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


class Name(str):
    """A checked name; subclasses say which characters it may have and which code refuses the rest."""

    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]
    code: ClassVar[str]

    def __new__(cls, value: str) -> Self:
        if not isinstance(value, str) or len(value) > MAX_NAME or not cls.pattern.fullmatch(value):
            raise Refused(cls.code, raw=value)
        return super().__new__(cls, value)


class ClusterName(Name):
    """A cluster of hosts, such as `mlx.hpc.uio.no`."""

    __slots__ = ()
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
    code = "bad_cluster_name"


class HostName(Name):
    """A host, such as `ml6.hpc.uio.no`, or an address for hosts that nobody named."""

    __slots__ = ()
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
    code = "bad_host_name"

    @classmethod
    def from_address(cls, address: str) -> Self:
        """The name of a host that is known by its address only; colons of IPv6 become dashes.

        Raises:
            Refused: `bad_host_name` when `address` is no IP address.
        """
        try:
            parsed = ipaddress.ip_address(usual_address(address))
        except ValueError:
            raise Refused(cls.code, raw=address) from None
        if isinstance(parsed, ipaddress.IPv6Address):
            return cls("ip6-" + parsed.exploded.replace(":", "-"))
        return cls(str(parsed))


class LogLabel(Name):
    """A followed log file within its host, such as `var-log-syslog`."""

    __slots__ = ()
    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*", re.ASCII)
    code = "bad_log_label"


class CrashId(Name):
    """A crash: a UUID whose last 7 characters are the throttle digit and the UTC date of receipt as yymmdd.

    Source of the format: Socorro's crash id, see docs/crashes.md.
    """

    __slots__ = ()
    pattern = re.compile(
        r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{5}[0-9]"
        r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])",
        re.ASCII,
    )
    code = "bad_crash_id"

    @property
    def day(self) -> str:
        """The day of receipt as YYYYMMDD: the folder that holds the crash."""
        return f"20{self[-6:]}"


class Place(NamedTuple):
    """Of which host something is said."""

    cluster: str
    host: str


# Ids and unguessable names that we hand out.
SWISSNUM_BITS: Final = 160  # what Foolscap itself uses


def new_crash_id(now: float, throttle: int = 0) -> CrashId:
    """A crash id for a report received at `now` (seconds, UTC) with the throttle result as its digit; the rest is random."""
    day = time.strftime("%y%m%d", time.gmtime(now))
    digits = secrets.token_hex(15)
    return CrashId(
        f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-{'89ab'[int(digits[15], 16) % 4]}{digits[16:19]}-{digits[19:24]}"
        f"{throttle:d}{day}"
    )


def new_swissnum() -> str:
    """160 random bits in lower-case base32: the unguessable part of a FURL."""
    return base64.b32encode(secrets.token_bytes(SWISSNUM_BITS // 8)).decode().lower()


def row_key(*parts: str | float) -> bytes:
    """16 bytes that are equal for rows that say the same thing; what is stored twice shows once by this key."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        piece = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return digest.digest()

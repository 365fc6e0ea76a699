"""Ids and unguessable names that we hand out."""

import base64
import hashlib
import secrets
import time
from typing import Final

from lae_monitor.core.names import CrashId

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

"""Ids and unguessable names that we hand out."""

import base64
import hashlib
import secrets
import uuid
from datetime import UTC, datetime
from typing import Final

from lae_monitor.core.names import CrashId

SWISSNUM_BITS: Final = 160  # what Foolscap itself uses


def new_crash_id(now: float, throttle: int = 0) -> CrashId:
    """A crash id for a report received at `now` (seconds, UTC) with the throttle result as its digit."""
    day = datetime.fromtimestamp(now, UTC).strftime("%y%m%d")
    return CrashId(f"{str(uuid.uuid4())[:-7]}{throttle:d}{day}")


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

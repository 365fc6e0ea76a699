"""Who may send for whom: one file of passwords, read anew when it changes, never ignored when it cannot be read.

A line each, blank lines and lines that begin with `#` apart; a user may have several, so that passwords can be rotated:

    mlx.hpc.uio.no:password
    mlx.hpc.uio.no:sha256$<salt in hex>$<SHA-256 of salt and password in hex>
    mlx.hpc.uio.no/password                the one-liner of the first infiltrate

A user is a cluster that sends samples (source: infiltrate's -auth-file, see docs/sonar.md#passwords) or a product that sends
crash reports (docs/crashes.md#tokens). No method here shows a password in what it raises.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, wall_clock

MAX_FILE: Final = 1 * MiB  # bytes of the password file; 1000 clusters with two passwords each need 0.2 MiB
MAX_HEADER: Final = 4096  # characters of an Authorization header
SETTLED: Final = 2.0  # seconds after a change from which on the file's times tell a further change
SALT: Final = 16  # bytes

_HASHED: Final = re.compile(r"sha256\$([0-9a-f]{2,128})\$([0-9a-f]{64})")
_LINE: Final = re.compile(r"([^:/\s]+)[:/](\S.*)")


class CredentialsError(Exception):
    """The password file cannot be used; the text says which, why and what to do."""


class Password(NamedTuple):
    """One password, as a salted hash only."""

    salt: bytes
    digest: bytes

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(hashlib.sha256(self.salt + password).digest(), self.digest)

    def __repr__(self) -> str:
        return "Password(***)"


_NOBODY: Final = Password(bytes(SALT), bytes(32))  # what an unknown user's password is compared with


def hash_password(password: str) -> str:
    """The form of `password` that can stand in the file: `sha256$SALT$DIGEST`."""
    salt = secrets.token_bytes(SALT)
    return f"sha256${salt.hex()}${hashlib.sha256(salt + password.encode()).hexdigest()}"


def parse_passwords(text: str, source: str, *, may_be_empty: bool = False) -> dict[str, list[Password]]:
    """The passwords of each user.

    Args:
        text: the file.
        source: its name, for the error.
        may_be_empty: whether a file without a password is right.

    Raises:
        CredentialsError: a line that is none, or no line at all.
    """
    users: dict[str, list[Password]] = {}
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise CredentialsError(f"{source}: line {number} is not of the form user:password")
        users.setdefault(found[1], []).append(_password(found[2], f"{source}: line {number}"))
    if not users and not may_be_empty:
        raise CredentialsError(f"{source}: holds no line of the form user:password, so nobody could send anything")
    return users


def _password(text: str, place: str) -> Password:
    if not text.startswith("sha256$"):
        salt = secrets.token_bytes(SALT)
        return Password(salt, hashlib.sha256(salt + text.encode()).digest())
    found = _HASHED.fullmatch(text)
    if found is None or len(found[1]) % 2:
        raise CredentialsError(f"{place} is not of the form user:sha256$SALT$DIGEST, both in hex")
    return Password(bytes.fromhex(found[1]), bytes.fromhex(found[2]))


class Passwords:
    """The password file of a running gatherer.

    Args:
        path: the file.
        clock: now, in seconds.
        if_missing: what to do when there is no such file, for people; None takes a file that was never there, and one
            without a password, for one that lets nobody in.
    """

    def __init__(self, path: Path, clock: Clock = wall_clock, *, if_missing: str | None = "make it") -> None:
        self.path = path
        self._clock = clock
        self._if_missing = if_missing
        self._users: dict[str, list[Password]] = {}
        self._seen: tuple[int, ...] | None = None

    def refresh(self) -> None:
        """Reads the file if it has changed since.

        Raises:
            CredentialsError: it is missing, cannot be read, or has a line that is none; all are refused until then.
        """
        try:
            status = os.stat(self.path)  # noqa: PTH116 - asked for every report
            if self._seen == _signature(status):
                return
            self._seen = None
            self._users = parse_passwords(self._read(status), str(self.path), may_be_empty=self._if_missing is None)
        except FileNotFoundError:
            self._seen = None
            if self._if_missing is None and not self._users:
                return
            if self._if_missing is None:
                raise CredentialsError(
                    f"{self.path}: is gone; what it held stays in force; an empty file in its place holds none"
                ) from None
            raise CredentialsError(f"{self.path}: there is no such file; {self._if_missing}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(f"{self.path}: cannot be read: {error}") from error
        # Within one tick of the file system's clock a second change would leave the same times behind.
        if abs(self._clock() - max(status.st_mtime, status.st_ctime)) > SETTLED:
            self._seen = _signature(status)

    def _read(self, status: os.stat_result) -> str:
        if not stat.S_ISREG(status.st_mode):  # a pipe would keep us waiting for ever
            raise CredentialsError(f"{self.path}: is no plain file")
        if status.st_size > MAX_FILE:
            raise CredentialsError(f"{self.path}: is larger than {MAX_FILE} bytes")
        return self.path.read_text("utf-8")

    def user_of(self, authorization: str | None) -> str:
        """The user that an Authorization header proves to be.

        Raises:
            Refused: `unauthorized`; `credentials_unreadable` when the file cannot be used now.
        """
        try:
            self.refresh()
        except CredentialsError as error:
            raise Refused("credentials_unreadable", str(error)) from error
        user, password = parse_basic(authorization)
        if not self.lets_in(user, password):
            raise Refused("unauthorized")
        return user

    def lets_in(self, user: str, password: bytes) -> bool:
        """Whether `password` is one of `user`, as the file was when it was last read."""
        # All are compared, also for a user that nobody knows: the time taken says nothing about the file.
        matches = [known.matches(password) for known in self._users.get(user, [_NOBODY])]
        return user in self._users and any(matches)

    @property
    def users(self) -> list[str]:
        return sorted(self._users)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def parse_basic(authorization: str | None) -> tuple[str, bytes]:
    """User and password of `Basic <base64>`.

    Raises:
        Refused: `unauthorized`, without a detail: it may be nearly right, and then it is nearly a secret.
    """
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic" or len(credentials) > MAX_HEADER:
        raise Refused("unauthorized")
    try:
        user, colon, password = base64.b64decode(credentials.strip(), validate=True).partition(b":")
        name = user.decode()
    except (binascii.Error, ValueError):
        raise Refused("unauthorized") from None
    if not colon:
        raise Refused("unauthorized")
    return name, password

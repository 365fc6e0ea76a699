"""Secrets, and how they are kept out of what people read. No `repr()` here shows a secret bit."""

import hashlib
import hmac
import re
from typing import Final, Self

from lae_monitor.core.redaction import HIDDEN, redact
from lae_monitor.core.refusals import Refused

__all__ = ["HIDDEN", "Cap", "Furl", "Secret", "Token", "redact"]


class Secret:
    """A value that is used, never shown: tokens, passwords, swissnums. `reveal()` is the only way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def matches(self, other: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(self._value.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("secrets are not pickled")


class Token(Secret):
    """What a client shows to be let in; kept hashed."""

    __slots__ = ()

    def digest(self) -> str:
        """SHA-256 in hex: what is stored instead of the token."""
        return hashlib.sha256(self._value.encode("utf-8", "surrogatepass")).hexdigest()


class Cap(Secret):
    """A Tahoe-LAFS capability (`URI:...`)."""

    __slots__ = ()


class Furl(Secret):
    """A Foolscap capability `pb://TUBID@HINT[,HINT...]/SWISSNUM`. A peer that knows the swissnum may call the object.

    Raises:
        Refused: `bad_furl`.
    """

    __slots__ = ("hints", "swissnum", "tub_id")

    _PATTERN: Final = re.compile(r"pb://([a-z2-7]{32})@([^/\s\x00]*)/([^\s\x00/]{1,500})")

    def __init__(self, value: str) -> None:
        found = self._PATTERN.fullmatch(value.strip())
        if found is None:
            raise Refused("bad_furl")  # without the value: it may be nearly right, and then it is nearly a secret
        super().__init__(value.strip())
        self.tub_id: str = found[1]
        self.hints: tuple[str, ...] = tuple(hint for hint in found[2].split(",") if hint)
        self.swissnum = Secret(found[3])

    @classmethod
    def build(cls, tub_id: str, location: str, swissnum: str) -> Self:
        return cls(f"pb://{tub_id}@{location}/{swissnum}")

    def __repr__(self) -> str:
        return f"Furl(pb://{self.tub_id}@{','.join(self.hints)}/{HIDDEN})"

    __str__ = __repr__

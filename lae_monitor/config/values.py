"""Values of the configuration that have units or a form of their own. Each is built from what an operator writes.

`parse()` takes whatever TOML can hold and raises ValueError with a sentence; what it returns needs no further look.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final, Self

from lae_monitor.core.limits import Reserve, parse_size
from lae_monitor.core.names import ClusterName, HostName, usual_address
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.time import DAY, parse_duration

MAX_SIZE: Final = 2**63 - 1  # bytes; what a file can have
MAX_DURATION: Final = 100 * 365 * DAY  # seconds; dates further away than that cannot be computed with

# Each type of value, as `config explain` and mistakes call it.
FORMS: Final[dict[type, str]] = {}


class Size(int):
    """Bytes, written as `25 MiB`."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        if isinstance(value, str):
            value = _unless_refused(parse_size, value)
        elif isinstance(value, bool) or not isinstance(value, int):
            raise _wants(cls, value)
        if not 1 <= value <= MAX_SIZE:
            raise ValueError(f"{shorten(value)} bytes: a size is at least 1 byte, and below 8 EiB")
        return cls(value)


class Duration(float):
    """Seconds, written as `60s` or `7d`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        if isinstance(value, str):
            value = _unless_refused(parse_duration, value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise _wants(cls, value)
        if not 0 < value <= MAX_DURATION:  # NaN is neither
            raise ValueError(f"{shorten(value)} seconds: a duration is more than nothing, and at most 100 years")
        return cls(value)


def is_bare(value: Any) -> bool:
    """Whether a size or a duration is written without a unit, or ends without one."""
    return not isinstance(value, bool) and (
        isinstance(value, int | float) or (isinstance(value, str) and value.strip()[-1:].isdigit())
    )


def _check_unit(value: Any, usual: str, smallest: str) -> None:
    """
    Args:
        usual, smallest: what a number without a unit may be meant as, with `{}` for the number; how it was read is last.

    Raises:
        ValueError: there is no unit.
    """
    if is_bare(value):
        number = shorten(value) if not isinstance(value, str) else shorten(value.strip())[1:-1]
        if not re.fullmatch(r"[0-9.]+", number):
            raise ValueError(f"{number}: give every number a unit, such as {smallest.format(30).partition(' for')[0]}")
        readings = " or ".join(reading.format(number) for reading in (usual, smallest))
        raise ValueError(f"{number} has no unit: write {readings}")


class Kept(Duration):
    """How long something is kept. It needs a unit: who writes 90 means days, and it would be seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        _check_unit(value, '"{}d" for days,', '"{}s" for seconds')
        return super().parse(value)


class Room(Size):
    """How much is kept. It needs a unit: who writes 50 means gibibytes, and it would be bytes."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        _check_unit(value, '"{} GiB" for gibibytes,', '"{} B" for bytes')
        return super().parse(value)


class Share(str):
    """Part of a file system: `5%`, or a size."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        if not isinstance(value, str):
            raise _wants(cls, value)
        share = cls(value.strip())
        _unless_refused(lambda _text: share.reserve(), value)
        return share

    def reserve(self) -> Reserve:
        """
        Raises:
            Refused: `bad_size`.
        """
        if found := re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,6})?)\s*%", self):
            return Reserve(share=float(found[1]) / 100)
        return Reserve(size=parse_size(self))


class Percentage(float):
    """A part of one, written as `5%`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        found = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%\s*", value) if isinstance(value, str) else None
        if found is None:
            raise _wants(cls, value)
        if float(found[1]) > 100:
            raise ValueError(f"{shorten(value)} is more than everything")
        return cls(float(found[1]) / 100)


class Listen(str):
    """Where a server listens: `127.0.0.1:8642`, `[::1]:8642`; port 0 takes any free one."""

    __slots__ = ()
    _PATTERN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]{0,253})):([0-9]{1,5})")

    @classmethod
    def parse(cls, value: Any) -> Self:
        if not isinstance(value, str):
            raise _wants(cls, value)
        found = cls._PATTERN.fullmatch(value.strip())
        if found is None or int(found[3]) > 65535 or not _can_be_a_host(found[1], found[2]):
            raise ValueError(f"{shorten(value)} is not {FORMS[cls]}")
        return cls(value.strip())

    @property
    def host(self) -> str:
        found = self._PATTERN.fullmatch(self)
        assert found is not None  # parse() saw to it
        return found[1] or found[2] or "0.0.0.0"  # noqa: S104 - an empty host means all, as everywhere

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _can_be_a_host(bracketed: str | None, plain: str | None) -> bool:
    try:
        if bracketed is not None:
            ipaddress.IPv6Address(bracketed)
        elif plain and re.fullmatch(r"[0-9.]+", plain):
            ipaddress.IPv4Address(plain)
    except ValueError:
        return False
    return True


class StoreUrl(str):
    """Which store: `chdb:///FOLDER`."""

    __slots__ = ()
    _SCHEME = "chdb://"

    @classmethod
    def parse(cls, value: Any) -> Self:
        if not isinstance(value, str):
            raise _wants(cls, value)
        folder = value.strip().removeprefix(cls._SCHEME)
        # The engine takes its options after a question mark, so a folder cannot have one.
        if (
            not value.strip().startswith(f"{cls._SCHEME}/")
            or "?" in folder
            or "\0" in folder
            or folder.strip("/") == ""
        ):
            raise ValueError(f"{shorten(value)} is not {FORMS[cls]}")
        return cls(value.strip())

    @property
    def folder(self) -> Path:
        return Path(self.removeprefix(self._SCHEME))


class Inventory(dict[str, HostName]):
    """Hosts by their address; addresses in their usual spelling."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        if not isinstance(value, dict):
            raise _wants(cls, value)
        hosts = cls()
        for address, host in value.items():
            try:
                usual = usual_address(address)
            except ValueError:
                raise ValueError(f"{shorten(address)} is not an IP address") from None
            if usual in hosts:
                raise ValueError(f"{usual} is there twice")
            try:
                hosts[usual] = _unless_refused(HostName, host)
            except ValueError as error:
                raise ValueError(f"{usual}: {error}") from error
        return hosts


def parse_path(value: Any, base: Path) -> Path:
    """An absolute path; a relative one is taken from `base`, `~` is the home folder.

    Raises:
        ValueError
    """
    if not isinstance(value, str):
        raise _wants(Path, value)
    if not value.strip() or "\0" in value:
        raise ValueError(f"{shorten(value)} is not {FORMS[Path]}")
    try:
        return base / Path(value).expanduser()
    except RuntimeError as error:  # ~somebody whom the system does not know
        raise ValueError(f"{shorten(value)}: {error}") from error


FORMS.update(
    {
        Size: 'a size with a unit, such as "25 MiB" or "1.5 GB"',
        Duration: 'a duration with a unit, such as "250ms", "60s", "1h30m", "7d" or "1y"',
        Share: 'a share of the file system, such as "5%", or a size, such as "10 GiB"',
        Kept: 'a duration with a unit, such as "30d", "1y" or "12h"',
        Room: 'a size with a unit, such as "50 GiB" or "500 MiB"',
        Percentage: 'a percentage, such as "5%"',
        Listen: 'an address and port to listen on, such as "127.0.0.1:8642" or "[::1]:8642"; port 0 takes any free one',
        StoreUrl: 'the URL of a store: "chdb:///FOLDER", with an absolute folder and no question mark in it',
        Inventory: 'a table of addresses and host names, such as {"10.0.0.7" = "node1"}',
        ClusterName: "a cluster's name: letters, digits, dots, dashes and underscores",
        HostName: "a host's name: letters, digits, dots, dashes and underscores",
        Path: "a folder: absolute, or relative to that of the configuration file; ~ is the home folder",
        str: "text in quotes",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
    }
)
_PARSERS: Final[dict[type, Callable[[Any], Any]]] = {
    kind: kind.parse for kind in (Size, Duration, Kept, Room, Share, Percentage, Listen, StoreUrl, Inventory)
}
_NAMES: Final = (ClusterName, HostName)


def from_toml(kind: type, value: Any, base: Path) -> Any:
    """The hook that msgspec calls for types it does not know; relative paths are taken from `base`."""
    if kind is Path:
        return parse_path(value, base)
    if kind in _NAMES:
        if not isinstance(value, str):
            raise _wants(kind, value)
        return _unless_refused(kind, value)
    if kind in _PARSERS:
        return _PARSERS[kind](value)
    raise NotImplementedError(kind)


def _unless_refused(parse: Callable[[str], Any], value: str) -> Any:
    try:
        return parse(value)
    except Refused as refused:
        raise ValueError(f"{refused.reason.text}: {refused.detail}") from refused


def _wants(kind: type, value: Any) -> ValueError:
    return ValueError(f"wants {FORMS[kind]}; this is {what_it_is(value)}")


def what_it_is(value: Any) -> str:
    """What TOML calls `value`, in words; numbers and truth as they stand there."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return shorten(value)
    kinds: tuple[tuple[type, str], ...] = (
        (str, "text"),
        (list, "a list"),
        (dict, "a table"),
        (datetime, "a date and time"),
        (date, "a date"),
        (time, "a time of day"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), type(value).__name__)

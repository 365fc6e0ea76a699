"""Values of the configuration that have units or a form of their own. Each is built from the text an operator writes."""

import ipaddress
import re
from pathlib import Path
from typing import Any, Self

from lae_monitor.archive.files import Reserve
from lae_monitor.core.limits import parse_size
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_duration


class Size(int):
    """Bytes, written as `25 MiB`."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        return cls(value) if isinstance(value, int) else cls(parse_size(value))


class Duration(float):
    """Seconds, written as `60s` or `7d`."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        return cls(value) if isinstance(value, int | float) else cls(parse_duration(value))


class Share(str):
    """Part of a file system: `5%`, or a size."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        share = cls(value)
        share.reserve()
        return share

    def reserve(self) -> Reserve:
        """
        Raises:
            Refused: `bad_size`.
        """
        if found := re.fullmatch(r"\s*([0-9]{1,2}(?:\.[0-9]+)?)\s*%\s*", self):
            return Reserve(share=float(found[1]) / 100)
        return Reserve(size=parse_size(self))


class Listen(str):
    """Where a server listens: `127.0.0.1:8642`, `[::1]:8642`; port 0 takes any free one."""

    __slots__ = ()
    _PATTERN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]{1,5})")

    @classmethod
    def parse(cls, value: Any) -> Self:
        found = cls._PATTERN.fullmatch(value)
        if found is None or int(found[3]) > 65535:
            raise ValueError("not an address to listen on, such as 127.0.0.1:8642 or [::1]:8642")
        return cls(value)

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


VALUES = {Size: Size.parse, Duration: Duration.parse, Share: Share.parse, Listen: Listen.parse}


def from_text(kind: type, value: Any) -> Any:
    """The hook that msgspec calls for types it does not know."""
    if kind is Path:
        return Path(value).expanduser()
    for known, parse in VALUES.items():
        if kind is known:
            try:
                return parse(value)
            except Refused as refused:
                raise ValueError(f"{refused.reason.text}: {refused.detail}") from refused
            except TypeError as error:
                raise ValueError(str(error)) from error
    raise NotImplementedError(kind)

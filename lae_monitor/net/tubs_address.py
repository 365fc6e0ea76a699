"""Where a tub listens, and where its FURLs say that it can be reached."""

import re
from typing import Final, NamedTuple

from lae_monitor.core.refusals import Refused

_LISTEN: Final = re.compile(r"tcp:([0-9]{1,5})(?::interface=(\S+))?")
_HINT: Final = re.compile(r"(?:tcp:)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})")


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

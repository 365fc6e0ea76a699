"""[gatherers.incidents]"""

from typing import Annotated, Literal

import msgspec

from lae_monitor.config import Duration, Room, Section, Size, key
from lae_monitor.core.limits import GiB, MiB


class Settings(Section, frozen=True):
    """The incident gatherer."""

    listen: Annotated[str, key("Foolscap endpoint: tcp:PORT, or tcp:PORT:interface=ADDRESS")] = "tcp:3118"
    location: Annotated[
        str, key("how nodes reach it, written into their FURLs: tcp:NAME:PORT; a name survives a change of address")
    ] = "tcp:localhost:3118"
    http: Annotated[
        str, key("address and port of /metrics, /ping and the like; empty listens nowhere", example="127.0.0.1:9118")
    ] = ""
    unregistered: Annotated[
        bool,
        key(
            "whether there is one more FURL, for nodes without one of their host's: what they report stays under a host "
            "named by their address until it is claimed"
        ),
    ] = False
    fast_decoding: Annotated[
        bool, key("whether incidents are decoded by our own decoder instead of Foolscap's; both give the same")
    ] = True
    fetches: Annotated[
        int, msgspec.Meta(ge=1, le=16, description="incidents fetched at the same time, over all nodes")
    ] = 3
    max_incident: Annotated[Size, key("largest incident, as the JSON that is stored, before compression")] = Size(
        8 * MiB
    )
    max_host: Annotated[
        Room, key("what the archive keeps of one host's incidents; beyond, they are refused until there is room")
    ] = Room(GiB)
    rules: Annotated[
        str,
        key('classification rules: the preset "tahoe", "none", or the path of a TOML file, read anew when it changes'),
    ] = "tahoe"
    classifiers: Annotated[
        str,
        key(
            "folder of classify_*.py files as flogtool takes them, read anew when they change; empty for none",
            example="/etc/lae-monitor/classifiers",
        ),
    ] = ""
    classify_limit: Annotated[Duration, key("longest time that classifying one incident may take")] = Duration(5)
    log_level: Annotated[
        Literal["off", "NOISY", "OPERATIONAL", "UNUSUAL", "INFREQUENT", "CURIOUS", "WEIRD", "SCARY", "BAD"],
        key("from which level on what nodes log is kept, beside their incidents; off keeps none"),
    ] = "off"

"""[gatherers.incidents]"""

from typing import Annotated

from lae_monitor.config import Section, key


class Settings(Section, frozen=True):
    """The incident gatherer."""

    listen: Annotated[str, key("Foolscap endpoint: tcp:PORT, or tcp:PORT:interface=ADDRESS")] = "tcp:3118"
    location: Annotated[
        str, key("how nodes reach it, written into their FURLs: tcp:NAME:PORT; a name survives a change of address")
    ] = "tcp:localhost:3118"

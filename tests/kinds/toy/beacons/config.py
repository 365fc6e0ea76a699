"""[gatherers.beacons]"""

from typing import Annotated

from lae_monitor.config import Listen, Section, key
from lae_monitor.config.values import Kept


class Settings(Section, frozen=True):
    """Beacons."""

    listen: Annotated[Listen, key("where ships send to")] = Listen("127.0.0.1:4711")
    port_retention: Annotated[dict[str, Kept], key("how long beacons of a port are kept")] = {}

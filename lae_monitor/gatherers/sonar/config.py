"""[gatherers.sonar]"""

from typing import Annotated

from lae_monitor.config import Listen, Section, Size, key


class Settings(Section, frozen=True):
    """The Sonar data logger."""

    listen: Annotated[Listen, key("address and port of POST /sonar-freecsv")] = Listen("127.0.0.1:8086")
    auth_file: Annotated[
        str,
        key("user:password lines, the user is the cluster; relative to credentials/sonar. Empty: anybody may send"),
    ] = "exfil-auth.txt"
    max_body: Annotated[Size, key("largest body")] = Size(16 * 1024**2)

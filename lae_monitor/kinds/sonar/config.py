"""[gatherers.sonar]"""

from typing import Annotated

from lae_monitor.config import Listen, Section, Size, key


class Settings(Section, frozen=True):
    """The Sonar data logger."""

    listen: Annotated[Listen, key("address and port of POST /sonar-freecsv")] = Listen("127.0.0.1:8086")
    auth_file: Annotated[
        str,
        key(
            "user:password lines, the user is the cluster; relative to credentials/sonar in the state folder. "
            "Empty: anybody may send, on a loopback address only"
        ),
    ] = "exfil-auth.txt"
    match_user_and_cluster: Annotated[
        bool,
        key("a user may send for the cluster of its own name only; false: for any, as the first infiltrate had it"),
    ] = True
    max_body: Annotated[Size, key("largest body")] = Size(16 * 1024**2)
    trusted_proxies: Annotated[tuple[str, ...], key("addresses whose X-Forwarded-For is believed")] = ()

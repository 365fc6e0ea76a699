"""[gatherers.crashes]"""

from typing import Annotated

from lae_monitor.config import Duration, Listen, Section, Size, key


class Settings(Section, frozen=True):
    """The crash collector."""

    listen: Annotated[Listen, key("address and port of POST /submit")] = Listen("127.0.0.1:8000")
    max_body: Annotated[Size, key("largest body as it comes, compressed or not")] = Size(25 * 1024**2)
    max_inflated: Annotated[Size, key("largest body after decompression")] = Size(200 * 1024**2)
    trusted_proxies: Annotated[list[str], key("addresses whose X-Forwarded-For is believed")] = []  # noqa: RUF012
    head_timeout: Annotated[Duration, key("longest time for a request's head")] = Duration(10)
    idle_timeout: Annotated[Duration, key("longest pause within an upload")] = Duration(20)
    total_timeout: Annotated[Duration, key("longest time for one upload")] = Duration(120)

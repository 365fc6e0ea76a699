"""[gatherers.crashes]"""

from typing import Annotated

import msgspec

from lae_monitor.config import Duration, Kept, Listen, Room, Section, Size, key
from lae_monitor.core.limits import TiB


class Settings(Section, frozen=True):
    """The crash collector."""

    listen: Annotated[Listen, key("address and port of POST /submit")] = Listen("127.0.0.1:8000")
    max_body: Annotated[Size, key("largest body as it comes, compressed or not")] = Size(25 * 1024**2)
    max_inflated: Annotated[Size, key("largest body after decompression")] = Size(200 * 1024**2)
    trusted_proxies: Annotated[list[str], key("addresses whose X-Forwarded-For is believed")] = []  # noqa: RUF012
    head_timeout: Annotated[Duration, key("longest time for a request's head")] = Duration(10)
    idle_timeout: Annotated[Duration, key("longest pause within an upload")] = Duration(20)
    total_timeout: Annotated[Duration, key("longest time for one upload")] = Duration(120)
    min_rate: Annotated[
        int, msgspec.Meta(ge=0, description="bytes a second that an upload keeps up on average after its first 10 s")
    ] = 64
    rules: Annotated[
        str,
        key(
            'throttle rules: a preset ("accept-all", "antenna" or "socorro"), or the path of a TOML file, read anew when it '
            "changes"
        ),
    ] = "accept-all"
    removed_fields: Annotated[
        tuple[str, ...], key("annotations that are not kept: what they held is gone, and a note says so")
    ] = ("Email", "TelemetryClientId", "TelemetryServerURL", "TelemetrySessionId")
    require_token: Annotated[
        bool, key("whether a product without a token of its own is refused; one that has a token always needs it")
    ] = False
    id_prefix: Annotated[str, key("what stands before the crash id in a reply; crash ids are stored without it")] = (
        "bp-"
    )
    id_depth: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=4,
            description="digit of a crash id: 0 writes the throttle result, as Antenna does; 1 to 4 that radix depth, as "
            "the Socorro collector did",
        ),
    ] = 0
    view_url: Annotated[
        str,
        key(
            "sent to clients as ViewURL, {crash_id} replaced; empty sends none",
            example="https://monitoring.example/report/{crash_id}",
        ),
    ] = ""
    end_of_life: Annotated[
        dict[str, list[str]],
        key(
            "versions by product, * for any text, whose clients are told to stop sending",
            example={"Firefox": ["3.*", "52.0"]},
        ),
    ] = {}  # noqa: RUF012
    statsd: Annotated[
        str, key("host:port that gets Antenna's metrics over UDP; empty sends none", example="127.0.0.1:8125")
    ] = ""
    statsd_prefix: Annotated[str, key("what the names of those metrics begin with")] = "socorro."
    max_kept: Annotated[
        Room, key("what all crash reports together may take; beyond, the oldest go first", example="50 GiB")
    ] = Room(1024 * TiB)
    product_retention: Annotated[
        dict[str, Kept],
        key("how long reports of a product are kept, where that is not retention.crashes", example={"Nightly": "30d"}),
    ] = {}  # noqa: RUF012

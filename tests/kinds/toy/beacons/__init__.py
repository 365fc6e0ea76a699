"""A kind that exists only here: lines that ships send of themselves. It uses everything that a kind may use."""

from typing import Final

from lae_monitor.core.kind import Classes, Command, Expects, Kind, SearchField
from lae_monitor.core.reasons import Reason

BEACONS: Final = Kind(
    name="beacons",
    event="beacon",
    room=__name__,
    keep="30d",
    about="beacons of ships",
    reports=r"beacons/(?P<cluster>[^/]+)/\d{4}/\d\d/\d\d/",
    routine=("info",),
    runs="calm beacons",
    regular="sends beacons",
    troubles=f"{__name__}.check:troubles",
    expects=Expects("has a password", f"{__name__}.check:contacts", "whether the ship {host} is afloat."),
    same=("digest",),
    version=f"{__name__}:VERSION",
    formerly="was",
    why=f"{__name__}:why",
    why_attributes=("port",),
    tables=f"{__name__}.tables:TABLES",
    search=(SearchField("cargo", "cargoes", "goods", "cargo:rum", "what the ship carries"),),
    entries=(("cargo", f"{__name__}.rows:cargo"),),
    classes=f"{__name__}:classes",
    class_group=f"{__name__}:group_of",
    tokens=f"{__name__}.check:TOKENS",
    register=f"{__name__}.check:FERRY",
    first="beacon light",
    trial="fleet beacon",
    feed="/ports.atom",
    companions=f"{__name__}.commands:companions",
    show=f"{__name__}.show:show",
    about_one=f"{__name__}.pages:about",
    commands=(
        ("beacon", Command(f"{__name__}.commands:beacon", "Beacons of ships")),
        ("fleet beacon", Command(f"{__name__}.commands:beacon", "Beacons of ships")),
    ),
    node=f"{__name__}.pages:node",
    load=f"{__name__}.pages:load",
    links=(("/ports", "Ports"),),
    routes=f"{__name__}.pages:routes",
    demo=f"{__name__}.demo:Beacons",
    reasons=(Reason("beacon_adrift", 422, "the beacon names no port"),),
    mark="M8 1v14",
)


VERSION = "attrs['lantern']"


def why(group, attributes):
    return f"they lie in {attributes['port']}, as {group} says"


def classes(settings):
    return Classes({port: float(kept) for port, kept in settings.port_retention.items()}, key="port_retention")


def group_of(port):
    return f"port {port}"

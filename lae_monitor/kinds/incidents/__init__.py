"""Incident reports of Tahoe-LAFS nodes, and of any program with a Foolscap log publisher.

A node connects to the FURL in its `tahoe.cfg` (`[node] log_gatherer.furl`) and offers its log port; what it saw before and
after something went wrong is fetched and kept as flogtool keeps it. Replaces `flogtool create-incident-gatherer`. Each host
has a FURL of its own, so that it is known by its credential, and stays the same host when its nodes restart.

gather.py, read.py, show.py, check.py, config.py, commands.py   as in every kind
nodes/       fetches the incidents of nodes, which net/furls admits by their FURLs
answers/     decodes what nodes answer and say of incidents
wire/        flogtool's format: files, events, their text, their groups
classify/    what an incident is called
pages.py     the list of incidents: page, JSON, Atom feed
questions.py   queries of the store for these
tables.py    its table in the store: categories
node_logs/   what nodes log beside their incidents
tail/        a node's log as it is written
takeover/    from flogtool's gatherer to this one: FURL, certificate, old incidents
trial/       follows a test incident from a node to the store
state.py     the gatherer's database: refused names, identities, contacts with hosts
stored.py    which incidents the archive has; none is stored twice
metrics.py   counters and gauges of its /metrics
reasons.py   reason codes of refused incidents
"""

from typing import Final

from lae_monitor.core.kind import Command, Expects, Kind, SearchField, Takeover
from lae_monitor.kinds.incidents.reasons import REASONS

CATEGORY: Final = SearchField(
    "category", "categories", "categories", "category:user-incident-button", "what an incident was found to be"
)
INCIDENTS: Final = Kind(
    name="incidents",
    event="incident",
    room=__name__,
    keep="2y",
    about="incident reports",
    reports=r"incidents/(?P<cluster>[^/]+)/(?:incidents/[^/]+/incident-|logs/[^/]+/\d{4}/\d\d/)",
    readers=((r"incidents/[^/]+/logs/", f"{__name__}.node_logs.read"),),
    expects=Expects(
        "has a FURL",
        f"{__name__}.state:contacts",
        "lae-monitor fleet status --host {host}; whether its nodes run, and reach gatherers.incidents.location. A node "
        "tries again within about an hour; restarted, at once.",
    ),
    formerly="fingerprint.before",
    why=f"{__name__}.wire.fingerprint:why",
    why_attributes=("umid", "fingerprint", "fingerprint.version"),
    tables=f"{__name__}.tables:TABLES",
    search=(CATEGORY,),
    entries=(("categories", f"{__name__}.tables:categories"),),
    show=f"{__name__}.show:show",
    about_one=f"{__name__}.questions:about",
    links=(("/incidents", "Incidents"),),
    routes=f"{__name__}.pages:routes",
    commands=(
        (
            "incidents",
            Command(f"{__name__}.commands:incidents", "What incidents are called: try rules, count categories"),
        ),
        (
            "fleet test-incident",
            Command(f"{__name__}.trial.commands:test_incident", "Try whether a host's incidents arrive"),
        ),
        (
            "fleet rotate",
            Command(f"{__name__}.nodes.commands:rotate", "Give a host a new FURL; the old one ends later"),
        ),
        ("fleet revoke", Command(f"{__name__}.nodes.commands:revoke", "Revoke the FURLs of a host")),
        ("fleet claim", Command(f"{__name__}.nodes.commands:claim", "Say which host reports from an address")),
        ("fleet unclaim", Command(f"{__name__}.nodes.commands:unclaim", "Remove a claim")),
        ("fleet tail", Command(f"{__name__}.tail.commands:tail", "Watch what a host's nodes log")),
    ),
    trial="fleet test-incident",
    feed="/incidents.atom",
    register="lae_monitor.fleet.registering:LOG_GATHERER",
    takeover=Takeover(
        ("flogtool",),
        f"{__name__}.takeover.commands:import_incidents",
        finds=f"{__name__}.takeover.folders:is_flogtool",
        gather=f"{__name__}.takeover.commands:gather_stock",
    ),
    demo=f"{__name__}.demo:Incidents",
    reasons=REASONS,
    mark="M8 1.8 15 14H1zM8 6v4M8 11.9v.4",
)

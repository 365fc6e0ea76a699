"""The sections that every process knows. A kind's own section is a struct in `kinds/<kind>/config.py`.

Each key's description is what `lae-monitor config explain` and docs/configuration.md say.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from lae_monitor.config.section import Section, key
from lae_monitor.config.values import Duration, Inventory, Kept, Listen, Percentage, Share, Size, StoreUrl
from lae_monitor.core.kind import Kinds
from lae_monitor.core.limits import MiB
from lae_monitor.core.names import ClusterName
from lae_monitor.core.time import HOUR

# [alerts]: when an alarm is raised, and where it is sent. Their passwords and tokens are in files of their own.
Rule = Literal["host silent", "gatherer down", "new group", "group regressed", "retention stopped", "host in trouble"]


class Destination(Section, frozen=True, tag_field="type"):
    """What every destination can be told."""

    name: Annotated[
        str, key("what lists, metrics and the file with its secret call it; default: its type", example="on-call")
    ] = ""
    rules: Annotated[list[Rule], key("send only these alarms; empty: all")] = []  # noqa: RUF012
    clusters: Annotated[list[str], key("send only alarms of hosts of these clusters; empty: all")] = []  # noqa: RUF012
    timeout: Annotated[Duration, key("longest wait for all of one delivery")] = Duration(30)

    @property
    def kind(self) -> str:
        """Its type, as the configuration has it."""
        return str(type(self).__struct_config__.tag)

    @property
    def title(self) -> str:
        """What lists call it, and its secret's file."""
        return self.name or self.kind


class Mail(Destination, frozen=True, kw_only=True, tag="mail"):
    """A message by SMTP. With a user, the password is in credentials/alerts/NAME."""

    to: Annotated[list[str], key("addresses that it goes to", example=["ops@example.org"])]
    sender: Annotated[
        str, key("the address that it comes from; empty: lae-monitor@ and the name of this host", example="mon@lae.org")
    ] = ""
    server: Annotated[str, key("the mail server, HOST:PORT")] = "localhost:25"
    security: Annotated[
        Literal["none", "starttls", "tls"],
        key("how the way to the server is encrypted; with a user or to another host, better not none"),
    ] = "none"
    user: Annotated[str, key("the account at the server; empty: none")] = ""


class Webhook(Destination, frozen=True, kw_only=True, tag="webhook"):
    """A POST of JSON. What credentials/alerts/NAME holds is sent as bearer token."""

    url: Annotated[
        str,
        key("where it is POSTed; empty: the address in credentials/alerts/NAME.url, where nobody else may see it"),
    ] = ""


AnyDestination = Mail | Webhook


class Alerts(Section, frozen=True):
    """Alarms: when they are raised, and where they are sent."""

    silent_after: Annotated[
        Duration,
        key("an expected host that was not heard for so long is silent; nodes may take an hour to connect again"),
    ] = Duration(2 * HOUR)
    expected: Annotated[
        list[str],
        key(
            "hosts that are expected beside those with a FURL and those that send samples: HOST or CLUSTER/HOST",
            example=["node7", "hpc/ml6"],
        ),
    ] = []  # noqa: RUF012
    unexpected: Annotated[
        list[str], key("hosts whose silence is no alarm: HOST or CLUSTER/HOST, with * and ?", example=["laptop-*"])
    ] = []  # noqa: RUF012
    group_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical", "never"],
        key("a new group, or one that was closed and happens again, is an alarm from this level on"),
    ] = "warning"
    pages_url: Annotated[
        str, key("how people reach the pages, for links in messages; empty: none", example="https://monitor.example")
    ] = ""
    destinations: Annotated[
        list[AnyDestination],
        key(
            "each gets every message, and each is kept account of by itself",
            example=[{"type": "mail", "to": ["ops@example.org"]}],
        ),
    ] = []  # noqa: RUF012


class Fleet(Section, frozen=True):
    """The fleet as a whole."""

    name: Annotated[ClusterName, key("the cluster that hosts belong to unless their credential says otherwise")] = (
        ClusterName("lae")
    )
    inventory: Annotated[
        Inventory,
        key("names of hosts by their address, for clients without a credential", example={"10.0.0.7": "node1"}),
    ] = Inventory()


class State(Section, frozen=True):
    """Where everything lives that is not configuration."""

    path: Annotated[Path, key("holds archive/, store/, credentials/, the *.db files and node.url")] = Path(
        "/var/lib/lae-monitor"
    )


class Archive(Section, frozen=True):
    """What was accepted, as it came: the truth."""

    roots: Annotated[
        list[Path] | None,
        key(
            "folders in order of preference, the first that works is written to; default: archive/ in the state folder",
            example=["/srv/archive", "/mnt/fallback/archive"],
        ),
    ] = None
    reserve: Annotated[Share, key("free space left to the host on each root: a share such as 5%, or a size")] = Share(
        "5%"
    )
    hot: Annotated[
        Duration, key("how long followed logs stay uncompressed; no gatherer of this release follows any")
    ] = Duration(7 * 86400)


class Store(Section, frozen=True):
    """The searchable copy; can be deleted and rebuilt."""

    url: Annotated[
        StoreUrl | None,
        key(
            "where the embedded store is, chdb:///FOLDER; default: store/ in the state folder",
            example="chdb:///var/lib/lae-monitor/store",
        ),
    ] = None
    memory: Annotated[Size, key("what the embedded store may allocate")] = Size(400 * MiB)
    readers: Annotated[int, msgspec.Meta(ge=1, le=16, description="queries that run at the same time")] = 2


class Web(Section, frozen=True):
    """Pages and API."""

    listen: Annotated[
        Listen, key("address and port, only of loopback: other machines come through a tunnel of ssh")
    ] = Listen("127.0.0.1:8642")


class Retention(Section, frozen=True):
    """How long things are kept, in archive and store alike. Each kind has a key; see `retention()`."""

    logs: Annotated[Kept, key("followed log files; no gatherer of this release writes any")] = Kept(30 * 86400)
    stats: Annotated[Kept, key("numbers of storage nodes; no gatherer of this release writes any")] = Kept(365 * 86400)
    max_share: Annotated[
        Percentage,
        key(
            "a run that would take more than this share of a kind's files or bytes, after the clock jumped or less is to be "
            "kept, stops until it is confirmed"
        ),
    ] = Percentage(0.05)


class Log(Section, frozen=True):
    """What the processes log to standard error."""

    format: Annotated[
        Literal["text", "json"], key("a line of text a record, or a JSON object a line with the fields of mozlog")
    ] = "text"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was configured. `gatherers` maps the name of each of `kinds` to its own section."""

    fleet: Fleet = Fleet()
    state: State = State()
    archive: Archive = Archive()
    store: Store = Store()
    web: Web = Web()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()
    log: Log = Log()
    gatherers: dict[str, Any] = {}
    kinds: Kinds = Kinds()
    source: Path | None = None  # the file it came from
    warnings: tuple[str, ...] = ()  # sentences, each begins with its key: legal, and perhaps not what is meant

    @property
    def archive_roots(self) -> list[Path]:
        return self.archive.roots or [self.state.path / "archive"]

    @property
    def store_path(self) -> Path:
        return self.store.url.folder if self.store.url is not None else self.state.path / "store"

    @property
    def credentials(self) -> Path:
        return self.state.path / "credentials"


def retention(kinds: Kinds) -> type[Retention]:
    """The section with a key for each of `kinds`."""
    fields = [(kind.name, Annotated[Kept, key(kind.about)], Kept.parse(kind.keep)) for kind in kinds]
    made = msgspec.defstruct(
        "Retention", fields, bases=(Retention,), frozen=True, namespace={"__doc__": Retention.__doc__}
    )
    return cast(type[Retention], made)


SECTIONS: dict[str, type[Section]] = {
    "fleet": Fleet,
    "state": State,
    "archive": Archive,
    "store": Store,
    "web": Web,
    "retention": Retention,
    "alerts": Alerts,
    "log": Log,
}

"""The sections that every process knows. A gatherer's own section is a struct in `gatherers/<kind>/config.py`.

Each key's description is what `lae-monitor config explain` and docs/configuration.md say.
"""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from lae_monitor.config.values import Duration, Listen, Share


def key(description: str) -> msgspec.Meta:
    """What a key means, for people."""
    return msgspec.Meta(description=description)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. Every key has a default, except where the description says that it has to be given."""


class Fleet(Section, frozen=True):
    """The fleet as a whole."""

    name: Annotated[str, key("the cluster that hosts belong to unless their credential says otherwise")] = "lae"
    inventory: Annotated[
        dict[str, str], key('names of hosts by their address, for clients without a credential: {"10.0.0.7" = "node1"}')
    ] = {}


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
            "folders in order of preference, the first that works is written to; default: archive/ in the state folder"
        ),
    ] = None
    reserve: Annotated[Share, key("free space left to the host on each root: a share such as 5%, or a size")] = Share(
        "5%"
    )
    hot: Annotated[Duration, key("how long followed logs stay uncompressed")] = Duration(7 * 86400)


class Store(Section, frozen=True):
    """The searchable copy; can be deleted and rebuilt."""

    url: Annotated[str | None, key("chdb:///FOLDER, embedded; default: store/ in the state folder")] = None
    memory: Annotated[str, key("what the embedded store may allocate, as a size")] = "400 MiB"
    readers: Annotated[int, msgspec.Meta(ge=1, le=16, description="queries that run at the same time")] = 2


class Web(Section, frozen=True):
    """Pages and API."""

    listen: Annotated[Listen, key("address and port; only loopback until there is a login")] = Listen("127.0.0.1:8642")


class Retention(Section, frozen=True):
    """How long things are kept, in archive and store alike."""

    logs: Annotated[Duration, key("followed log files")] = Duration(30 * 86400)
    sonar: Annotated[Duration, key("samples of HPC nodes")] = Duration(365 * 86400)
    stats: Annotated[Duration, key("numbers of storage nodes")] = Duration(365 * 86400)
    crashes: Annotated[Duration, key("crash reports")] = Duration(2 * 365 * 86400)
    incidents: Annotated[Duration, key("incident reports")] = Duration(2 * 365 * 86400)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was configured. `gatherers` maps a kind to its own section."""

    fleet: Fleet = Fleet()
    state: State = State()
    archive: Archive = Archive()
    store: Store = Store()
    web: Web = Web()
    retention: Retention = Retention()
    gatherers: dict[str, Any] = {}
    source: Path | None = None  # the file it came from

    @property
    def archive_roots(self) -> list[Path]:
        return self.archive.roots or [self.state.path / "archive"]

    @property
    def store_path(self) -> Path:
        """
        Raises:
            ValueError: store.url does not name an embedded store.
        """
        url = self.store.url
        if url is None:
            return self.state.path / "store"
        if not url.startswith("chdb://"):
            raise ValueError(f"store.url: {url}: only chdb:///FOLDER is known")
        return Path(url.removeprefix("chdb://"))

    @property
    def credentials(self) -> Path:
        return self.state.path / "credentials"


SECTIONS: dict[str, type[Section]] = {
    "fleet": Fleet,
    "state": State,
    "archive": Archive,
    "store": Store,
    "web": Web,
    "retention": Retention,
}

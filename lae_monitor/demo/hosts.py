"""Who there is: a storage grid and two clusters that compute."""

from typing import Final, Literal, NamedTuple

Work = Literal["storage", "gateway", "compute", "gpu"]

GRID: Final = "grid"
ML: Final = "ml.example"
FOX: Final = "fox.example"
CLUSTERS: Final = (GRID, ML, FOX)


class Host(NamedTuple):
    """A pretend host. Its crash clients have no credential: `address`, where they send from, says which host it is."""

    cluster: str
    name: str
    work: Work
    address: str = ""

    @property
    def is_node(self) -> bool:
        """Whether it runs a Tahoe-LAFS node, which publishes incidents and whose programs report crashes."""
        return self.cluster == GRID

    @property
    def number(self) -> int:
        """Its place among all: spreads what hosts do at the same interval."""
        return HOSTS.index(self)


HOSTS: Final = (
    Host(GRID, "store1", "storage", "127.0.0.11"),
    Host(GRID, "store2", "storage", "127.0.0.12"),
    Host(GRID, "store3", "storage", "127.0.0.13"),
    Host(GRID, "store4", "storage", "127.0.0.14"),
    Host(GRID, "gateway1", "gateway", "127.0.0.15"),
    Host(ML, "ml1.ml.example", "gpu"),
    Host(ML, "ml2.ml.example", "gpu"),
    Host(ML, "ml3.ml.example", "gpu"),
    Host(ML, "ml4.ml.example", "gpu"),
    Host(FOX, "c1-1.fox.example", "compute"),
    Host(FOX, "c1-2.fox.example", "compute"),
    Host(FOX, "c1-3.fox.example", "compute"),
)

SICK: Final = HOSTS[2]  # the one with a story worth opening
GATEWAY: Final = HOSTS[4]


def inventory() -> dict[str, str]:
    """The setting fleet.inventory: names of hosts by their address."""
    return {host.address: host.name for host in HOSTS if host.address}

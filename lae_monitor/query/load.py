"""How busy a host was, and what it is made of, by the first kind that knows it."""

import msgspec

from lae_monitor.core import kind as kinds
from lae_monitor.store import Store


class Node(msgspec.Struct, kw_only=True):
    """What the host is made of, by its newest word."""

    description: str
    cores: int
    memory_kib: int
    gpu_cards: int
    gpumem_kib: int


class Load(msgspec.Struct, kw_only=True):
    """Cores in use and resident memory in each piece of `bucket` seconds from `since` on; None where no sample came."""

    since: float
    bucket: float
    cores: list[float | None]
    resident_kib: list[int | None]


async def node(store: Store, cluster: str, host: str) -> Node | None:
    """
    Raises:
        StoreError
    """
    for kind in store.kinds:
        if kind.node and (found := await kinds.load(kind.node)(store, cluster, host)):
            node: Node = found
            return node
    return None


async def load(store: Store, cluster: str, host: str, since: float, until: float, bucket: float) -> Load | None:
    """The load from `since` to `until`, or None for a host of which no kind knows it.

    Raises:
        StoreError
    """
    for kind in store.kinds:
        if kind.load and (found := await kinds.load(kind.load)(store, cluster, host, since, until, bucket)):
            load: Load = found
            return load
    return None

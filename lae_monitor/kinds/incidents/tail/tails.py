"""Lets operators watch a node's log through us: behind a host's tail FURL is what `flogtool tail` expects of a node.

    flogtool tail ──subscribe_to_all──► LogProxy ──subscribe_to_all──► node
                  ◄──msg── LogTail (bounded) ◄──msg──

A node cannot be reached from outside: it connects to us, and so a tail takes our way. The FURL is a capability of its own:
its holder reads the host's log as it is, and can do nothing else. See docs/node-logs.md.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.secrets import Furl
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.net.furls.files import HostFurls
from lae_monitor.net.furls.registry import Registration, Registry
from lae_monitor.net.tubs.identity import parse_listen

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.node import Node
    from lae_monitor.kinds.incidents.tail.proxy import LogProxy

FOLDER: Final = "incidents-tail"  # of credentials: the FURLs for tails

FindNodes = Callable[[str, str], Sequence["Node"]]


class Tails:
    """The tails of all hosts, each behind a FURL of its own.

    Args:
        furls: of tails; one ends when its file is removed.
        nodes: the connected nodes of a cluster's host.
        clock: now, in seconds.
    """

    def __init__(self, furls: HostFurls, nodes: FindNodes, clock: Clock = wall_clock) -> None:
        self._furls = furls
        self._nodes = nodes
        self._clock = clock
        self._proxies: dict[str, LogProxy] = {}  # by swissnum

    def find(self, swissnum: str) -> "LogProxy | None":
        """The object behind a FURL, a Referenceable; None if no host's tail FURL has this swissnum."""
        known = self._furls.find(swissnum)
        if known is None:
            return None
        from lae_monitor.kinds.incidents.tail.proxy import LogProxy  # noqa: PLC0415 - after start_reactor()

        place = Place(ClusterName(known.cluster), HostName(known.host))
        proxy = self._proxies.get(swissnum)
        if proxy is None or proxy.place != place:
            proxy = self._proxies[swissnum] = LogProxy(
                place, lambda: self._nodes(*place), lambda: self._is_of(swissnum, place), self._tails, self._clock
            )
        return proxy

    def _is_of(self, swissnum: str, place: Place) -> bool:
        known = self._furls.find(swissnum)
        return known is not None and (known.cluster, known.host) == place

    def _tails(self) -> int:
        return sum(proxy.tails for proxy in self._proxies.values())

    async def stop(self) -> None:
        """Ends every tail."""
        await asyncio.gather(*(proxy.stop() for proxy in self._proxies.values()))


# ---- for commands ----------------------------------------------------------------------------------------------------


def register_tail(settings: Settings, host: str, cluster: str | None = None) -> Registration:
    """The tail FURL of `host`, made if there is none; see Registry.register. Nobody can report by it."""
    return Registry(settings, "incidents", FOLDER).register(host, cluster)


def from_here(settings: Settings, furl: Furl) -> Furl:
    """`furl`, with the address at which the gatherer listens on this host before those for others.

    Raises:
        Refused: `bad_config`.
    """
    listen = parse_listen(settings.gatherers["incidents"].listen)
    address = listen.interface if listen.interface not in {"", "0.0.0.0"} else "127.0.0.1"  # noqa: S104 - read, not bound
    hint = f"tcp:[{address}]:{listen.port}" if ":" in address else f"tcp:{address}:{listen.port}"
    return Furl.build(furl.tub_id, ",".join(dict.fromkeys((hint, *furl.hints))), furl.swissnum.reveal())

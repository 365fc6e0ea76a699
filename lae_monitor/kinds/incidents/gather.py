"""Gathers the incidents that Tahoe-LAFS nodes, and other programs with a Foolscap log publisher, report.

    node ──logport()──► door of net/furls ──► Node ──subscribe, get_incident──► node
                                                │
                                                ▼
                  incidents/<cluster>/incidents/<host>/<name>.flog.bz2, then latest, then a receipt

An incident is known only once it is in the archive. Nothing is acknowledged to nodes: they keep their incidents, and
announce them at every connection.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lae_monitor import __version__
from lae_monitor.config.values import Listen
from lae_monitor.core.time import Clock
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.incidents.classify.job import Classifying
from lae_monitor.kinds.incidents.config import Settings
from lae_monitor.kinds.incidents.metrics import CONNECTIONS, HEARD, HOSTS, RECEIPTS_LOST, WAITING
from lae_monitor.kinds.incidents.node_logs.following import Following
from lae_monitor.kinds.incidents.nodes.relocation import Relocation
from lae_monitor.kinds.incidents.nodes.shared import Shared
from lae_monitor.kinds.incidents.state import State
from lae_monitor.kinds.incidents.tail.tails import FOLDER as TAIL_FOLDER
from lae_monitor.kinds.incidents.tail.tails import Tails
from lae_monitor.kinds.receipts import Receipts
from lae_monitor.net import tubs
from lae_monitor.net.furls.claims import Claims
from lae_monitor.net.furls.door import Door
from lae_monitor.net.furls.files import OPEN, HostFurls, OpenFurl
from lae_monitor.net.furls.registry import adopt_handed
from lae_monitor.net.http import Router, operations, serve
from lae_monitor.net.tubs.identity import CERTIFICATE, Identity, identity
from lae_monitor.store.aside import notices

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.node import Node


log = logging.getLogger(__name__)

KIND: Final = "incidents"
DECODING: Final = "lae_monitor.kinds.incidents.answers.broker:FastBroker"
STOP_PATIENCE: Final = 5.0  # seconds for connections to close
CANCEL_AGAIN: Final = 1.0  # seconds until work that goes on is cancelled once more


async def gather(context: Context) -> None:
    """Runs until `context.stop`.

    Raises:
        Refused: `bad_config`, `bad_furl`.
        OSError: a port is taken, or the credentials cannot be read.
    """
    settings: Settings = context.settings.gatherers[KIND]
    folder = context.credentials(KIND)
    adopt_handed(folder, KIND)
    who = identity(folder / CERTIFICATE)
    open_furl = _open_furl(context, settings, folder, who)
    tubs.start_reactor()
    from lae_monitor.kinds.incidents.node_logs.follower import LogFollower  # noqa: PLC0415 - after start_reactor()
    from lae_monitor.kinds.incidents.nodes.node import NodeGatherer  # noqa: PLC0415

    state = State(context.settings.state.path / f"{context.archive.process}.db")
    receipts = Receipts(context.journal, "incident", context.cluster, context.clock, lost=RECEIPTS_LOST, summary="mark")
    shared = Shared(context.archive, context.clock, state, receipts, settings)
    claims = Claims(folder)
    door = Door(HostFurls(folder, context.clock), NodeGatherer(shared), context.cluster, open_furl, claims)
    door.on_look.append(lambda: _measure(door, context.clock))
    shared.claimed = door.claimed
    shared.on_stored.append(lambda place, _span: door.has_reports(place))
    relocation = Relocation(shared, claims, context.cluster, context.journal)
    classifying = Classifying(context)
    shared.on_stored.append(classifying.stored)
    following = Following(context, receipts, LogFollower)
    door.on_connected.append(following.connected)
    tails = Tails(HostFurls(context.credentials(TAIL_FOLDER), context.clock), door.peers, context.clock)
    door.finders.append(tails.find)
    broker = DECODING if settings.fast_decoding else tubs.GUARDED
    tub = tubs.Tub(who, settings.listen, settings.location, door.find, door.unknown, broker=broker)
    async with receipts:
        try:
            state.settle_connections()
            async with _operations(context, settings.http):
                address = tub.start()
                context.ready(f"incidents: tub listening on {address}, FURLs in {folder}")
                async with _beside(
                    door.watch(),
                    _look_up_hosts(door, shared),
                    relocation.keep(),
                    shared.stored.keep(),
                    classifying.run(),
                    following.run(),
                ):
                    await context.stop.wait()
        finally:
            await following.stop()
            await tails.stop()
            await door.stop()
            await classifying.stop()
            await shared.finish()
            with suppress(TimeoutError):
                await asyncio.wait_for(tub.stop(), STOP_PATIENCE)
            tubs.stop_reactor()
            state.close()


def _open_furl(context: Context, settings: Settings, folder: Path, who: Identity) -> OpenFurl | None:
    """The shared FURL, made or kept, and shown as flogtool's gatherer does."""
    if not settings.unregistered:
        return None
    shared = OpenFurl(folder)
    furl = shared.issue(who.tub_id, settings.location)
    if sys.stderr.isatty():
        sys.stderr.write(f"Gatherer waiting at: {furl.reveal()}\n")
    else:
        log.info("Gatherer waiting at: %s", shared.path)
    home = context.archive.roots[0]
    if home.health == "ok":  # one that hangs must not hold up the start
        _link(Path(home.name) / KIND / context.cluster / OPEN, shared.path)
    return shared


def _link(link: Path, furl: Path) -> None:
    """Makes `link`, flogtool's name for the FURL beside the incidents, unless a file has that name; logs what goes wrong.

    A link, so that the secret has one place. The archive neither moves nor ships links.
    """
    try:
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if link.is_symlink() and link.readlink() != furl:
            link.unlink()
        link.symlink_to(furl)
    except FileExistsError:
        pass
    except OSError as error:
        log.warning("%s: %s", link, error)


async def _look_up_hosts(door: Door["Node"], shared: Shared) -> None:
    """Tells the door of which hosts the archive has incidents."""
    for place in await shared.stored.places():
        door.has_reports(place)


def _measure(door: Door["Node"], clock: Clock) -> None:
    nodes = door.all_peers()
    CONNECTIONS.set(len(nodes))
    HOSTS.set(len({node.place for node in nodes}))
    WAITING.set(sum(node.waiting for node in nodes))
    HEARD.set(max(clock() - door.last_contact, 0.0) if door.last_contact else 0.0)


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` meanwhile, and cancels it at the end; what fails of it is logged, and the rest goes on."""
    tasks = [asyncio.create_task(_logged(one)) for one in work]
    try:
        yield
    finally:
        pending = set(tasks)
        while pending:  # a library may swallow a cancellation
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("the gatherer goes on without %s", getattr(work, "__qualname__", work))


@asynccontextmanager
async def _operations(context: Context, where: str) -> AsyncIterator[None]:
    """Answers /metrics, /ping and the like at `where`, address and port, meanwhile; nowhere when that is empty.

    Raises:
        Refused: `bad_config`.
        OSError: it cannot be listened on.
    """
    if not where:
        yield
        return
    address = Listen.parse(where)
    stop, ready = asyncio.Event(), asyncio.Event()

    def listening(url: str) -> None:
        log.info("incidents: %s/metrics", url)
        ready.set()

    app = Router(operations(context.archive, __version__, warnings=notices, access=context.access))
    serving = asyncio.create_task(serve(app, address.host, address.port, stop=stop, ready=listening))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if serving.done():
            serving.result()
        yield
    finally:
        stop.set()
        with suppress(OSError):
            await serving

"""Sets, or takes out, one option in the tahoe.cfg of nodes on many hosts over SSH, and restarts the nodes that this changed.

The edit is that of `tahoe_cfg`, as the Ansible module makes it. Nothing is written, and nothing restarted, where Tahoe reads
the value already. One host's trouble stays there.
"""

import difflib
import posixpath
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext, suppress
from threading import Event
from typing import Final, NamedTuple

import msgspec

from lae_monitor.core.names import HostName
from lae_monitor.core.secrets import redact
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.fleet import tahoe_cfg
from lae_monitor.fleet.access import Access
from lae_monitor.fleet.remote import Remote, shown
from lae_monitor.fleet.restarting import how, restart
from lae_monitor.fleet.targets import Target
from lae_monitor.fleet.trouble import Trouble

FILE: Final = "tahoe.cfg"
STORAGESERVER: Final = "~/storageserver"
INTRODUCER: Final = "~/introducer"


class NodeOption(NamedTuple):
    """An option of tahoe.cfg by which a node is told where to report, and the nodes that have it."""

    section: str
    option: str
    nodes: tuple[str, ...]


LOG_GATHERER: Final = NodeOption("node", "log_gatherer.furl", (STORAGESERVER, INTRODUCER))
STATS_GATHERER: Final = NodeOption("client", "stats_gatherer.furl", (STORAGESERVER,))  # an introducer has none


class Order(NamedTuple):
    """What is to be done on each host. `files`: paths of tahoe.cfg, those that are not there are passed over.

    `value_of`: the value by host, None takes the option out. `always`: restart though nothing changed. `restart`: how, "" to
    find that out, None not at all.
    """

    section: str
    option: str
    value_of: Callable[[HostName], str | None]
    files: Sequence[str]
    restart: str | None = ""
    always: bool = False
    dry_run: bool = False


class Node(msgspec.Struct):
    """One tahoe.cfg. `state`: changed, equal, missing, failed, or untouched where it should have been changed; of a dry run,
    `changed` is what would be.
    """

    name: str
    path: str
    state: str
    diff: str = ""


class Outcome(msgspec.Struct):
    """What became of a host. `begun`: when its restart began, in seconds since the epoch."""

    target: Target
    nodes: list[Node] = []
    command: str = ""  # that restarted its nodes, or would
    status: int | None = None  # with which that ended
    output: str = ""  # what it said
    begun: float | None = None
    code: str = ""  # of Trouble; "" when all went well
    why: str = ""
    following: str = ""

    @property
    def changed(self) -> bool:
        return any(node.state == "changed" for node in self.nodes)

    @property
    def present(self) -> int:
        """How many nodes it has."""
        return sum(node.state in {"changed", "equal", "untouched"} for node in self.nodes)

    def fail(self, trouble: Trouble) -> None:
        """Keeps the first trouble: others follow from it."""
        if not self.code:
            self.code, self.why, self.following = trouble.code, trouble.why, trouble.following


def work_on_all(
    targets: Sequence[Target], access: Access, order: Order, parallel: int, stop: Event | None = None
) -> Iterator[Outcome]:
    """Works on `parallel` hosts at a time, and hands out each when it is done. Once `stop` is set, no further one is begun.
    A caller that stops early waits for those begun.
    """
    stop = stop or Event()

    def work(target: Target) -> Outcome:
        if stop.is_set():
            outcome = Outcome(target)
            outcome.fail(Trouble("not_begun", "Ctrl-C came before its turn: nothing was done on it", "the same again"))
            return outcome
        return work_on(target, access, order)

    pool = ThreadPoolExecutor(parallel, "host")
    try:
        begun = [pool.submit(work, target) for target in targets]
        for done in as_completed(begun):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def work_on(target: Target, access: Access, order: Order, clock: Clock = wall_clock) -> Outcome:
    """Does it on one host. Never raises: what goes wrong is in the outcome."""
    outcome = Outcome(target)
    try:
        with Remote(target, access) as remote, nullcontext() if order.dry_run else remote.alone():
            _edit_and_restart(remote, order, outcome, clock)
    except Trouble as trouble:
        outcome.fail(trouble)
    except Exception as error:  # noqa: BLE001 - one host costs only itself
        outcome.fail(Trouble("failed", f"{type(error).__name__}: {error}", "report this; try again"))
    return outcome


def _edit_and_restart(remote: Remote, order: Order, outcome: Outcome, clock: Clock) -> None:
    found = []
    for path in dict.fromkeys(posixpath.normpath(remote.path(file)) for file in order.files):
        name = posixpath.basename(posixpath.dirname(path)) or path
        node = Node(name, path, "equal")
        outcome.nodes.append(node)
        found.append(_planned(remote, order, outcome, node))
    if not outcome.present and not outcome.code:
        looked = ", ".join(node.path for node in outcome.nodes)
        raise Trouble("no_nodes", f"there is no {looked}", "name the folders of its nodes with --nodes")
    edits = [edit for edit in found if edit is not None]
    affected = [
        node.name for node in outcome.nodes if node.state == "untouched" or (order.always and node.state == "equal")
    ]
    meant = list(affected)
    if order.restart is not None and affected:
        outcome.command = how(remote, order.restart, affected)  # before anything is changed
    for node, before, after in edits:
        try:
            if not order.dry_run:
                remote.replace(node.path, before, after)
            node.state = "changed"
        except Trouble as trouble:
            node.state = "failed"
            affected.remove(node.name)
            outcome.fail(trouble)
    if outcome.command and affected and not order.dry_run:
        if len(affected) < len(meant):
            outcome.command = how(remote, order.restart or "", affected)
        _restart(remote, outcome, clock)


def _planned(remote: Remote, order: Order, outcome: Outcome, node: Node) -> tuple[Node, bytes, bytes] | None:
    """The edit of a file that has to be changed."""
    value = order.value_of(outcome.target.name)
    try:
        if not remote.exists(node.path):
            node.state = "missing"
            return None
        before = remote.read(node.path)
        if value is None:
            after = tahoe_cfg.unset_option(before, order.section, order.option)
        else:
            after = tahoe_cfg.set_option(before, order.section, order.option, value)
        if after == before:
            return None
        node.diff = difference(node.path, before, after, order.section, order.option)
    except (tahoe_cfg.BadFile, tahoe_cfg.BadOption) as error:
        node.state = "failed"
        outcome.fail(Trouble("bad_file", f"{node.path}: {error}", f"mend it on the host: {node.path}"))
        return None
    except Trouble as trouble:
        node.state = "failed"
        outcome.fail(trouble)
        return None
    node.state = "untouched"
    return node, before, after


def difference(path: str, before: bytes, after: bytes, section: str, option: str) -> str:
    """What an edit changes, as a unified diff in which `***` stands for all that is, or may be, a secret."""
    old = tahoe_cfg.without_secrets(before, section, option, _mark(before, section, option, ""))
    new = tahoe_cfg.without_secrets(after, section, option, _mark(after, section, option, " (new)"))
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="")
    return redact("\n".join(lines))


def _mark(data: bytes, section: str, option: str, note: str) -> str:
    """The value itself, where it is none that may be a secret."""
    with suppress(tahoe_cfg.BadFile):
        value = tahoe_cfg.get(data, section, option) or ""
        if not tahoe_cfg.is_secret(option, value):
            return value
    return f"{tahoe_cfg.HIDDEN}{note}"


def _restart(remote: Remote, outcome: Outcome, clock: Clock) -> None:
    again = "see what it says; then the same again with --restart-always"
    outcome.begun = clock()
    try:
        outcome.status, outcome.output = restart(remote, outcome.command)
    except Trouble as trouble:
        outcome.fail(Trouble("restart_failed", f"after the edit: {trouble.why}", again))
        return
    if outcome.status:
        said = f"{shown(outcome.command)} ended with status {outcome.status}"
        outcome.fail(Trouble("restart_failed", said, again))

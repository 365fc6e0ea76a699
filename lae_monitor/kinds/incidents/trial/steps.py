"""Tries whether a host's incidents arrive, as an operator would: presses the node's incident button, and follows the report.

Each step has a result. The first step that fails is the last; its result has the next thing to look at.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.names import Place, new_swissnum
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl, redact
from lae_monitor.fleet import tahoe_cfg
from lae_monitor.fleet.access import Access
from lae_monitor.fleet.registering import FILE
from lae_monitor.fleet.remote import Remote
from lae_monitor.fleet.targets import Target
from lae_monitor.fleet.trouble import Trouble
from lae_monitor.fleet.web_port import post
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import TOP, folder
from lae_monitor.kinds.incidents.wire.flog import unpack
from lae_monitor.net.furls import status
from lae_monitor.net.furls.files import HostFurls, OpenFurl
from lae_monitor.net.furls.ledger import Snapshot

KIND: Final = "incidents"
EVENT: Final = 5.0  # seconds that a node goes on collecting after the event, before an incident is whole
AFTERWARDS: Final = 30.0  # seconds in which what is stored is to be classified, and searchable
LOOK: Final = 0.5  # seconds between looks
MAX_PACKED: Final = 16 * MiB  # of an incident that is looked at
MAX_LIST: Final = 64 * KiB  # at the end of a list of categories, where the newest incidents are
BUTTON: Final = "report_incident"
DETAILS: Final = "flop: a test of lae-monitor"
_SAVED: Final = "incident report has been saved"


class Step(NamedTuple):
    """One step. `ok` is None for one that was left out. `following`: what to look at next, when it failed."""

    about: str
    ok: bool | None
    saw: str
    following: str = ""


class Trial(NamedTuple):
    """What is tried.

    `acting` is entered to read what the monitor's account alone may read. `ask` asks `serve` whether it knows a report, and
    answers None when `serve` does not run. `url`: of the node's web port, "" to find it.
    """

    settings: Settings
    target: Target
    cluster: str
    access: Access
    acting: Callable[[], AbstractContextManager[Any]]
    ask: Callable[[str], bool | None]
    nodes: Sequence[str]
    url: str = ""
    details: str = DETAILS
    wait: float = 60.0

    @property
    def place(self) -> Place:
        return Place(self.cluster, self.target.name)


def follow(trial: Trial) -> Iterator[Step]:
    """The steps, each as soon as it is over."""
    about = "host"
    try:
        with Remote(trial.target, trial.access) as remote:
            user = trial.target.user or trial.access.user
            yield Step(about, ok=True, saw=f"login works as {user}@{trial.target.address}")
            about = "node"
            node = _node(trial, remote)
            url = trial.url or _url(remote, node)
            yield Step(about, ok=True, saw=f"{node}, whose web port is {url}")
            about = "furl"
            yield Step(about, ok=True, saw=_furl(trial, remote, node))
            about = "gatherer"
            yield Step(about, ok=True, saw=_connected(trial))
            about = "report"
            with trial.acting():
                before = _stored(trial.settings, trial.place)
            mark = new_swissnum()[:16]
            begun = time.monotonic()
            yield Step(about, ok=True, saw=_report(remote, node, url, f"{trial.details} ({mark})"))
        about = "arrival"
        name = _arrived(trial, set(before), mark, begun)
        yield Step(about, ok=True, saw=f"{name} is stored, {time.monotonic() - begun:.1f} s after the report")
        yield _classified(trial, name)
        yield _searchable(trial, name)
    except Trouble as trouble:
        yield Step(about, ok=False, saw=trouble.why, following=trouble.following)


def _node(trial: Trial, remote: Remote) -> str:
    for node in trial.nodes:
        path = remote.path(node).rstrip("/")
        if remote.exists(f"{path}/{FILE}"):
            return path
    looked = ", ".join(remote.path(node) for node in trial.nodes)
    raise Trouble("no_nodes", f"there is no node in {looked}", "name the folder of a node with --nodes")


def _url(remote: Remote, node: str) -> str:
    path = f"{node}/node.url"
    if not remote.exists(path):
        raise Trouble(
            "failed",
            f"there is no {path}: the node was never started, or has no web port",
            "lae-monitor fleet set-option node web.port tcp:3456:interface=127.0.0.1 --on HOST",
        )
    return remote.read(path).decode("utf-8", "replace").strip()


def _furl(trial: Trial, remote: Remote, node: str) -> str:
    """Checks that the node has the FURL of its host."""
    again = f"lae-monitor fleet register incident {trial.target.name}={trial.target.address}"
    try:
        value = tahoe_cfg.get(remote.read(f"{node}/{FILE}"), "node", "log_gatherer.furl")
        furl = Furl(value) if value else None
    except tahoe_cfg.BadFile as error:
        raise Trouble("bad_file", f"{node}/{FILE}: {error}", "mend it on the host") from error
    except Refused as error:
        raise Trouble("failed", f"log_gatherer.furl in {node}/{FILE} is no FURL", again) from error
    if furl is None:
        raise Trouble("failed", f"log_gatherer.furl is not set in {node}/{FILE}", again)
    credentials = trial.settings.credentials / KIND
    with trial.acting():
        owner = HostFurls(credentials).find(furl.swissnum.reveal())
        is_open = OpenFurl(credentials).has(furl.swissnum.reveal())
    if owner is not None and (owner.cluster, owner.host) == trial.place:
        return f"log_gatherer.furl is the one of {owner.host}"
    if owner is not None:
        why = f"log_gatherer.furl is that of {owner.cluster}/{owner.host}, under which its incidents are shown"
        raise Trouble("failed", why, f"{again}; or test it as {owner.host}={trial.target.address}")
    if is_open:
        raise Trouble("failed", "log_gatherer.furl is the unregistered one: its incidents are under its address", again)
    raise Trouble("failed", f"log_gatherer.furl points to {furl}, which this monitor does not know", again)


def _connected(trial: Trial) -> str:
    awaited = status.Awaited(trial.cluster, trial.target.name, 1, None)

    def ask() -> Snapshot:
        with trial.acting():
            return status.snapshot(trial.settings, KIND)

    now, missing = status.await_connections([awaited], EVENT, ask)
    if not now.is_open:
        raise Trouble("no_gatherer", "no incident gatherer runs here", "lae-monitor gather incidents")
    if missing:
        raise Trouble(
            "not_heard",
            "the node is not connected to the gatherer",
            f"see whether the host can reach {trial.settings.gatherers[KIND].location}; a node that was refused for "
            "long tries again once an hour only: restart it",
        )
    count = status.connected(now, awaited)
    return "connected" if count == 1 else f"connected, {count} nodes"


def _report(remote: Remote, node: str, url: str, details: str) -> str:
    """Presses the button."""
    try:
        reply = post(remote, f"{url.rstrip('/')}/{BUTTON}", {"details": details})
    except Trouble as trouble:
        if trouble.code == "unreachable":
            raise Trouble(
                "unreachable", f"{trouble.why}; {_process(remote, node)}", f"see {node}/logs/twistd.log"
            ) from trouble
        raise
    text = " ".join(redact(reply.text).split())[:200]
    if reply.status != 200 or _SAVED not in reply.text:
        raise Trouble("failed", f"POST {BUTTON} answered {reply.status}: {text}", f"see {node}/logs/twistd.log")
    return f"POST {BUTTON} answered {reply.status}, {reply.way}"


def _process(remote: Remote, node: str) -> str:
    """Whether the node runs, by the file in which it says so."""
    path = f"{node}/running.process"
    if not remote.exists(path):
        return "the node does not run: it has no running.process"
    number = remote.read(path).decode("utf-8", "replace").split()[:1]
    if number and number[0].isdecimal() and remote.run(f"kill -0 {number[0]} || test -d /proc/{number[0]}").status == 0:
        return f"the node runs as process {number[0]}, so its web port is another, or closed"
    return "the node does not run: its process is gone"


def _arrived(trial: Trial, before: set[str], mark: str, begun: float) -> str:
    """The name of the incident that holds our words: events that come within its seconds may be in an older one's."""
    looked = set(before)
    while True:
        with trial.acting():
            for name, path in _stored(trial.settings, trial.place).items():
                if name not in looked:
                    looked.add(name)
                    if _contains(path, mark):
                        return name
        if time.monotonic() - begun > trial.wait:
            others = len(looked) - len(before)
            raise Trouble(
                "failed",
                f"it has not arrived within {trial.wait:g} s (they come {EVENT:g} s after the event, or a little later)"
                + (f"; {others} others have" if others else ""),
                f"lae-monitor host show {trial.target.name}, for what was refused; the gatherer's log, for what it fetches",
            )
        time.sleep(LOOK)


def _classified(trial: Trial, name: str) -> Step:
    end = time.monotonic() + AFTERWARDS
    while True:
        with trial.acting():
            found = _categories(trial.settings, trial.place, name)
        if found:
            return Step("classified", ok=True, saw=f"it is classified as {', '.join(found)}")
        if time.monotonic() > end:
            following = "the gatherer's log, for gatherers.incidents.rules and classifiers"
            return Step("classified", ok=False, saw=f"not classified within {AFTERWARDS:g} s", following=following)
        time.sleep(LOOK)


def _searchable(trial: Trial, name: str) -> Step:
    end = time.monotonic() + AFTERWARDS
    while True:
        found = trial.ask(name)
        if found is None:
            return Step("searchable", ok=None, saw="serve does not run, so nothing is searched now")
        if found:
            return Step("searchable", ok=True, saw=f"lae-monitor report show {name}")
        if time.monotonic() > end:
            following = "lae-monitor store status, and the log of serve"
            return Step("searchable", ok=False, saw=f"not searchable within {AFTERWARDS:g} s", following=following)
        time.sleep(LOOK)


# ---- archive and lists of categories -----------------------------------------------------------------------------------


def _stored(settings: Settings, place: Place) -> dict[str, Path]:
    """The incidents of a host by their names.

    Raises:
        OSError
    """
    found = {}
    for root in reversed(settings.archive_roots):
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in (root / folder(place)).iterdir():
                if path.name.endswith(SUFFIX):
                    found[path.name.removesuffix(SUFFIX)] = path
    return found


def _contains(path: Path, word: str) -> bool:
    """Whether `word`, of letters and digits, is in an event of the incident in a file."""
    try:
        if path.stat().st_size > MAX_PACKED:
            return False
        return any(word in repr(wrapper) for wrapper in unpack(path.read_bytes()))
    except (Refused, FileNotFoundError):
        return False


def _categories(settings: Settings, place: Place, name: str) -> list[str]:
    """The lists of categories that have an incident, of those stored lately.

    Raises:
        OSError
    """
    line = f"incidents/{place.host}/{name}{SUFFIX}".encode()
    found = set()
    for root in settings.archive_roots:
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in (root / TOP / place.cluster / "classified").iterdir():
                if path.is_file() and line in _end(path).splitlines():
                    found.add(path.name)
    return sorted(found)


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(file.seek(0, 2) - MAX_LIST, 0))
        return file.read(MAX_LIST)

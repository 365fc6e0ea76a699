"""Which incidents an import brings, and whose they are. Blocking.

flogtool's gatherer knows a node by its TubID, which is another one after every start of the node; at each start it fetched
everything again. Folders that share an incident are therefore the same node's, and of the copies one is taken.
"""

import csv
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lae_monitor.core.names import HostName, usual_address
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.takeover.folders import TUB_ID, Broken, Identity, Old, Told, load, tell

SHORT: Final = 8  # characters of a TubID that name a node, and the least of one in a map
NOBODY: Final = HostName("unknown")
UNKNOWN: Final = "tub-"  # before them: the name of a node of which nothing else is known

Inventory = Mapping[str, HostName]  # names of hosts by address, also as HostName.from_address() has it
Caller = Callable[[], AbstractContextManager[None]]


class BadMap(Exception):
    """What is wrong with a map of hosts, as a sentence."""


@dataclass
class Node:
    """A node: the TubIDs that it had, each of its incidents once, and how many copies there were beyond that."""

    tubs: list[str]
    incidents: dict[Identity, tuple[Old, Told]] = field(default_factory=dict)
    copies: int = 0
    broken: int = 0
    host: HostName = NOBODY
    why: str = ""

    def take(self, old: Old, told: Told) -> None:
        """The copy that was received first counts; as it is rather than one that has to be compressed."""
        there = self.incidents.get(told.identity)
        if there is not None:
            self.copies += 1
            if (there[1].received, there[0].is_plain) <= (told.received, old.is_plain):
                return
        self.incidents[told.identity] = (old, told)

    @property
    def location(self) -> str:
        """The host by which it says it is reached, by what was received last."""
        said = [(told.received, told.location) for _, told in self.incidents.values() if told.location]
        return max(said, default=(0.0, ""))[1]


@dataclass
class Plan:
    """What there is to be imported. `unused`: what a map says of nodes that are not there."""

    nodes: list[Node]
    broken: list[Broken]
    unused: list[str] = field(default_factory=list)


class _Groups:
    """Names that were said to be the same (a union-find)."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def of(self, name: str) -> str:
        self._parents.setdefault(name, name)
        while self._parents[name] != name:
            self._parents[name] = self._parents[self._parents[name]]
            name = self._parents[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._parents[self.of(other)] = self.of(one)

    def names(self) -> list[str]:
        return list(self._parents)


def make_plan(
    found: Iterable[Old | Broken],
    tell_how_far: Callable[[int], None] = lambda _files: None,
    as_caller: Caller = nullcontext,
) -> Plan:
    """Reads everything that was found.

    Args:
        tell_how_far: hears how many files were read, after each.
        as_caller: the files are read as the account that this makes us.
    """
    groups = _Groups()
    first: dict[Identity, str] = {}  # the folder that an incident was found in first
    taken: list[tuple[Old, Told]] = []
    broken: list[Broken] = []
    with as_caller():
        for number, item in enumerate(found, 1):
            groups.of(item.tub)
            if isinstance(item, Broken):
                broken.append(item)
            elif isinstance(told := _read(item), Broken):
                broken.append(told)
            else:
                groups.join(first.setdefault(told.identity, item.tub), item.tub)
                taken.append((item, told))
            tell_how_far(number)
    nodes: dict[str, Node] = {}
    for tub in groups.names():
        nodes.setdefault(groups.of(tub), Node([])).tubs.append(tub)
    for old, told in taken:
        nodes[groups.of(old.tub)].take(old, told)
    for one in broken:
        nodes[groups.of(one.tub)].broken += 1
    return Plan(list(nodes.values()), broken)


def _read(old: Old) -> Told | Broken:
    try:
        return tell(old.name, load(old))
    except Refused as refused:
        return Broken(old.where, refused.detail or str(refused), old.tub)
    except OSError as error:
        return Broken(old.where, error.strerror or str(error), old.tub)


# ---- whose they are ------------------------------------------------------------------------------------------------


def name_hosts(
    plan: Plan,
    given: HostName | None,
    by_name: Mapping[str, HostName],
    stored: Mapping[str, Iterable[str]],
    inventory: Inventory,
) -> None:
    """Gives every node its host: the one for all, what the map says, where the archive has some of its incidents already,
    where the node says it is reached; else its TubID.

    Args:
        by_name: a map of hosts; see `read_map`.
        stored: hosts of the archive by the incidents that they have.
        inventory: names of hosts by their address.

    Raises:
        BadMap: it gives one node two hosts.
    """
    used: set[str] = set()
    for node in plan.nodes:
        node.host, node.why = given or NOBODY, "--host"
        if given is None:
            node.host, node.why = _guess(node, stored, inventory)
        mapped = {key: host for key, host in by_name.items() if _is_of(key, node)}
        used |= mapped.keys()
        if len(set(mapped.values())) > 1:
            raise BadMap(f"{', '.join(mapped)} are the same node, since they share an incident, but have several hosts")
        if mapped:
            node.host, node.why = next(iter(mapped.values())), "the map"
    plan.unused = [key for key in by_name if key not in used]


def _guess(node: Node, stored: Mapping[str, Iterable[str]], inventory: Inventory) -> tuple[HostName, str]:
    there = Counter(host for known in node.incidents for host in stored.get(known.name, ()))
    if there:
        return HostName(there.most_common(1)[0][0]), "has some of them already"
    if node.location and (host := _host_of(node.location, inventory)):
        return host, "the node says so"
    folder = node.tubs[0]
    if folder and not TUB_ID.fullmatch(folder) and (host := _host_of(folder, inventory)):
        return host, "its folder is called so"
    if TUB_ID.fullmatch(folder):
        return HostName(f"{UNKNOWN}{folder[:SHORT]}"), "its TubID"
    return NOBODY, "nothing says"


def _host_of(text: str, inventory: Inventory) -> HostName | None:
    try:
        address = usual_address(text)
    except ValueError:
        try:
            return HostName(text)
        except Refused:
            return None
    named = HostName.from_address(address)
    return inventory.get(address) or inventory.get(named) or named


def _is_of(key: str, node: Node) -> bool:
    """Whether a map's key means `node`: the name that it was guessed to have, or the beginning of one of its TubIDs."""
    short = key.removeprefix(UNKNOWN)
    return key == node.host or any(tub == key or (len(short) >= SHORT and tub.startswith(short)) for tub in node.tubs)


def read_map(path: Path) -> dict[str, HostName]:
    """Hosts by TubID (or its first 8 characters, or the name that the plan shows), from CSV lines or a TOML file.

    Raises:
        BadMap
        OSError
    """
    text = path.read_text("utf-8", "replace")
    rows = _toml(text) if path.suffix == ".toml" else _csv(text)
    hosts: dict[str, HostName] = {}
    try:
        for where, key, host in rows:
            if key in hosts and hosts[key] != host:
                raise BadMap(f"{path}: {where}: {key} is there twice")
            try:
                hosts[key] = HostName(host)
            except Refused as refused:
                raise BadMap(f"{path}: {where}: {refused}") from refused
    except (tomllib.TOMLDecodeError, csv.Error) as error:
        raise BadMap(f"{path}: {error}") from error
    return hosts


def _csv(text: str) -> Iterator[tuple[str, str, str]]:
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or (number == 1 and cells[-1].lower() == "host"):
            continue
        if len(cells) != 2:
            raise csv.Error(f"line {number}: a TubID, a comma and a host are wanted")
        yield f"line {number}", cells[0], cells[1]


def _toml(text: str) -> Iterator[tuple[str, str, str]]:
    for key, host in tomllib.loads(text).items():
        yield key, key, host

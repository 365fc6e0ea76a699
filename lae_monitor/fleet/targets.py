"""Which hosts are meant: named one by one, in a file of a column, in an inventory, or running on EC2."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from lae_monitor.core.names import HostName, usual_address
from lae_monitor.core.refusals import Refused

MAX_TARGETS: Final = 10_000  # a longer list is a mistake
INVENTORY_WITHIN: Final = 120  # seconds for ansible-inventory, which may ask a cloud
NODE: Final = "node"  # the role of an instance that has nodes
_TARGET: Final = re.compile(
    r"(?:(?P<name>[^=@]+)=)?(?:(?P<user>[^@=]+)@)?(?P<address>\[[^]]+]|[^:]+|[^:]*:.*:.*)(?::(?P<port>\d+))?"
)
_ADDRESS: Final = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:%-]{0,254}", re.ASCII)
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\$?", re.ASCII)
_AWAY: Final = frozenset({"terminated", "ignore", "not_running"})  # in a column `status`


class Target(NamedTuple):
    """A host: the name under which it is shown, and where its sshd is. `user` and `port`: "" and 0 for the usual ones."""

    name: HostName
    address: str
    user: str = ""
    port: int = 0


class Passed(NamedTuple):
    """One that a list has, and that is passed over."""

    name: str
    why: str


class BadTargets(Exception):
    """It is not clear which hosts are meant: why, and what to do next."""

    def __init__(self, why: str, following: str) -> None:
        super().__init__(why)
        self.following = following


def target(text: str, names: Mapping[str, HostName]) -> Target:
    """`[NAME=][USER@]ADDRESS[:PORT]`. Without NAME it is shown by its name in `names`, else by its address.

    Raises:
        BadTargets
    """
    found = _TARGET.fullmatch(text.strip())
    if found is None:
        raise BadTargets(f"{text!r} is no host", "give [NAME=][USER@]ADDRESS[:PORT]")
    return _made(found["name"] or "", found["address"].strip("[]"), names, found["user"] or "", int(found["port"] or 0))


def from_arguments(texts: Iterable[str], names: Mapping[str, HostName]) -> list[Target]:
    """As `target` has them.

    Raises:
        BadTargets
    """
    return [target(text, names) for text in texts]


def from_csv(
    path: Path, column: str, name_column: str, names: Mapping[str, HostName]
) -> tuple[list[Target], list[Passed]]:
    """The addresses in a column of a CSV file whose first line names its columns, in capitals or not.

    A host whose column `status` says that it is away is passed over, and one without an address.

    Raises:
        BadTargets
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            rows = [(lines.line_num, row) for row in lines if any(map(str.strip, row))]
    except UnicodeDecodeError as error:
        raise BadTargets(f"{path} is not in UTF-8", "save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise BadTargets(f"{path}: {getattr(error, 'strerror', None) or error}", "name a CSV file") from error
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    for wanted in filter(None, (column, name_column)):
        if wanted.lower() not in header:
            there = ", ".join(header) or "none"
            raise BadTargets(f"{path} has no column {wanted}; it has {there}", "say --column, and --name-column")
    targets, passed = [], []
    for number, row in rows[1:]:
        cells = dict(zip(header, map(str.strip, row), strict=False))
        address, status = cells.get(column.lower(), ""), cells.get("status", "").lower()
        if address and status not in _AWAY:
            targets.append(_made(cells.get(name_column.lower(), ""), address, names, where=f"{path}, line {number}: "))
        else:
            passed.append(Passed(address or f"line {number}", f"its status is {status}" if address else f"no {column}"))
    return targets, passed


def from_configuration(names: Mapping[str, HostName]) -> list[Target]:
    """The hosts of `fleet.inventory`."""
    return [Target(name, address) for address, name in names.items()]


def from_ansible(path: Path, group: str) -> list[Target]:
    """The hosts of a group of an Ansible inventory, as `ansible-inventory` reads it; its ansible_host, _user, _port hold.

    Raises:
        BadTargets
    """
    beside = Path(sys.executable).with_name("ansible-inventory")
    program = shutil.which("ansible-inventory") or (str(beside) if beside.exists() else "")
    if not program:
        raise BadTargets(
            f"{path} cannot be read: there is no ansible-inventory here",
            "pip install ansible-core; or name the hosts, or list them in fleet.inventory and say --configured",
        )
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own file
            [program, "-i", str(path), "--list"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INVENTORY_WITHIN, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BadTargets(
            f"{path}: ansible-inventory took too long", "try it alone: ansible-inventory --list"
        ) from error
    if done.returncode:
        raise BadTargets(
            f"{path}: {' '.join(done.stderr.split())[:400]}", f"try it alone: ansible-inventory -i {path} --list"
        )
    told = json.loads(done.stdout)
    variables = told.get("_meta", {}).get("hostvars", {})
    hosts = sorted(_members(told, group, set()))
    if not hosts:
        raise BadTargets(
            f"{path} has no host in group {group}", "name another --group; ansible-inventory --graph shows them"
        )
    return [_of_inventory(host, variables.get(host, {}), path) for host in hosts]


def _members(told: Mapping[str, Any], group: str, seen: set[str]) -> Iterator[str]:
    if group not in seen:
        seen.add(group)
        of = told.get(group, {})
        yield from of.get("hosts", ())
        for child in of.get("children", ()):
            yield from _members(told, child, seen)


def _of_inventory(host: str, variables: Mapping[str, Any], path: Path) -> Target:
    address, port = str(variables.get("ansible_host") or host), str(variables.get("ansible_port") or 0)
    if not port.isdecimal() or "{{" in address:
        raise BadTargets(f"{path}: ansible_host or ansible_port of {host} is a template", "name that host on its own")
    return _made(host, address, {}, str(variables.get("ansible_user") or ""), int(port), f"{path}: ")


def from_ec2(
    regions: Sequence[str], tag_role: str, role: str = NODE, *, private: bool = False
) -> tuple[list[Target], list[Passed]]:
    """The running instances of a role, by their Name and their public, or private, address.

    Raises:
        BadTargets
        CannotAsk
    """
    from lae_monitor.fleet.ec2 import ask  # noqa: PLC0415 - boto3 takes a quarter of a second

    targets, passed = [], []
    kind = "private" if private else "public"
    for instance in (one for instances in ask(regions, tag_role).values() for one in instances):
        address = instance.private if private else instance.public
        shown = instance.shown_as or instance.id
        if role not in instance.roles or not instance.exists:
            continue
        if instance.state != "running":
            passed.append(Passed(shown, f"it is {instance.state}"))
        elif not address:
            passed.append(Passed(shown, f"it has no {kind} address"))
        else:
            targets.append(_made(shown, address, {}, where=f"{instance.id}: "))
    return targets, passed


def each_once(targets: Iterable[Target]) -> list[Target]:
    """The same hosts, those that several lists have once.

    Raises:
        BadTargets: one name, or one address, stands for two hosts.
    """
    by_name: dict[str, Target] = {}
    places: dict[tuple[str, int], Target] = {}
    for one in targets:
        place = one.address, one.port
        for other in (by_name.get(one.name), places.get(place)):
            if other is not None and (other.name, other.address, other.port) != (one.name, one.address, one.port):
                raise BadTargets(
                    f"{_shown(other)} and {_shown(one)} are two hosts with one "
                    f"{'name' if other.name == one.name else 'address'}",
                    "name each host once",
                )
        before = by_name.get(one.name, one)
        if before.user and one.user and before.user != one.user:
            raise BadTargets(
                f"{one.name} is named with two accounts, {before.user} and {one.user}", "name each host once"
            )
        by_name[one.name] = places[place] = one if one.user else before
    if len(by_name) > MAX_TARGETS:
        raise BadTargets(f"{len(by_name)} hosts are more than {MAX_TARGETS}", "name fewer at once")
    return list(by_name.values())


def _shown(one: Target) -> str:
    return f"{one.name} at {one.address}" + (f", port {one.port}," if one.port else "")


def _made(
    name: str, address: str, names: Mapping[str, HostName], user: str = "", port: int = 0, where: str = ""
) -> Target:
    for wrong, what in (
        (not _ADDRESS.fullmatch(address), f"{address!r} is no address"),
        (user and not _USER.fullmatch(user), f"{user!r} is no account"),
        (not 0 <= port <= 65535, f"{port} is no port"),
    ):
        if wrong:
            raise BadTargets(f"{where}{what}", "correct it")
    try:
        return Target(HostName(name) if name else _named(address, names), address, user, port)
    except Refused as refused:
        raise BadTargets(f"{where}{refused}", "give it a name: NAME=ADDRESS, or --name-column") from refused


def _named(address: str, names: Mapping[str, HostName]) -> HostName:
    try:
        return names.get(usual_address(address)) or HostName.from_address(address)
    except ValueError:
        return HostName(address)

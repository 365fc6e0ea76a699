"""`lae-monitor token`: the passwords by which clusters send samples.

They are kept as salted hashes, a line each, in the file that the gatherer reads; it notices a change by itself.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import click

from lae_monitor.cli.options import EXIT_CONFIG, EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

PASSWORD_BYTES: Final = 24  # 192 random bits, 32 characters
ID_DIGITS: Final = 8

_MADE: Final = re.compile(r"# ([0-9a-f]{8}) made (\S+)")


class Line(NamedTuple):
    """A line of the password file that lets somebody in. `number` counts from 0."""

    number: int
    cluster: str
    id: str
    made: str
    hashed: bool


@click.group()
@common
def token(_invocation: Invocation) -> None:
    """Make, list and revoke the passwords by which clusters send samples."""


_KIND: Final = click.argument("kind", type=click.Choice(["sonar"]), metavar="KIND")


@token.command()
@_KIND
@click.option("--cluster", metavar="CLUSTER", help="The cluster that may send with it; default: fleet.name.")
@common
def new(invocation: Invocation, kind: str, cluster: str | None) -> None:
    """Make a password for a cluster and print it, this once. Older ones of the cluster stay good until revoked.

    KIND is sonar.

    \b
    lae-monitor token new sonar --cluster mlx.hpc.uio.no
    """  # noqa: D301 - \b is click's mark for lines that it does not wrap
    from lae_monitor.core.names import ClusterName  # noqa: PLC0415 - quick start of the command line
    from lae_monitor.core.refusals import Refused  # noqa: PLC0415
    from lae_monitor.core.time import format_time, wall_clock  # noqa: PLC0415
    from lae_monitor.gatherers.sonar.auth import hash_password  # noqa: PLC0415

    try:
        name = ClusterName(cluster) if cluster is not None else invocation.settings.fleet.name
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    entry = f"{name}:{hash_password(password)}"
    path = _file(invocation)

    def add(lines: list[str]) -> list[str]:
        made = format_time(wall_clock(), digits=0)
        return [*lines, f"# {_id(entry, 0)} made {made}", entry]

    _change(invocation, path, add)
    data = {"kind": kind, "cluster": name, "id": _id(entry, 0), "password": password, "file": str(path)}
    invocation.answer(data, password)
    if not invocation.as_json:
        click.echo(
            f"{_id(entry, 0)}: the password of {name}, shown this once; only its hash is kept, in {path}\n"
            f"Next: on the nodes of {name}, write {name}:PASSWORD into the file that sonar's curl is given with --config "
            "or --user; no restart is needed here",
            err=True,
        )


@token.command("list")
@common
def list_tokens(invocation: Invocation) -> None:
    """The passwords there are: id, cluster, when made. Never the passwords themselves."""
    path = _file(invocation)
    found = _parse(_read(invocation, path))

    def text() -> str:
        if not found:
            return f"{path}: nobody can send\nNext: lae-monitor token new sonar"
        width = max(len(line.cluster) for line in found)
        return "\n".join(
            f"{line.id:<10}{line.cluster:<{width + 2}}{line.made or '-':<22}{'hashed' if line.hashed else 'in clear'}"
            for line in found
        )

    kept = [{"kind": "sonar", **line._asdict(), "number": line.number + 1} for line in found]
    invocation.answer({"file": str(path), "tokens": kept}, text)


@token.command()
@_KIND
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@common
def revoke(invocation: Invocation, kind: str, ids: tuple[str, ...]) -> None:
    """Take passwords away, by the ID that `token list` shows. Whoever sends with one is refused from now on.

    KIND is sonar.
    """
    path = _file(invocation)
    gone: list[Line] = []
    left: list[Line] = []

    def without(lines: list[str]) -> list[str]:
        known = _parse(lines)
        unknown = [wanted for wanted in ids if wanted not in {line.id for line in known}]
        if unknown:
            invocation.fail(
                f"no password has the id {', '.join(unknown)}", EXIT_FINDINGS, following="lae-monitor token list"
            )
        gone.extend(line for line in known if line.id in ids)
        left.extend(line for line in known if line.id not in ids)
        numbers = {line.number for line in gone}
        notes = {line.number - 1 for line in gone if line.made}
        return [line for number, line in enumerate(lines) if number not in numbers | notes]

    _change(invocation, path, without)
    lost = sorted({line.cluster for line in gone} - {line.cluster for line in left})
    text = [f"{line.id}: revoked, it was of {line.cluster}" for line in gone]
    text += [f"{cluster} has no password left: it can send nothing" for cluster in lost]
    if lost:
        text.append(f"Next: lae-monitor token new {kind} --cluster {lost[0]}")
    invocation.answer({"revoked": [line.id for line in gone], "without_any": lost}, "\n".join(text))


# ---- the file ------------------------------------------------------------------------------------------------------


def _file(invocation: Invocation) -> Path:
    from lae_monitor.gatherers.sonar.check import auth_file  # noqa: PLC0415

    path = auth_file(invocation.settings)
    if path is None:
        invocation.fail(
            'gatherers.sonar.auth_file is "": anybody on this host may send, and no password is asked for',
            EXIT_CONFIG,
            following="set gatherers.sonar.auth_file, such as to exfil-auth.txt",
        )
    return path


def _read(invocation: Invocation, path: Path) -> list[str]:
    """The file's lines; none when there is no such file.

    A file that cannot be read, or not understood, is never taken for an empty one.
    """
    from lae_monitor.gatherers.sonar.auth import CredentialsError, parse_passwords  # noqa: PLC0415

    try:
        text = path.read_text("utf-8")
        lines = text.split("\n")
        if _parse(lines):
            parse_passwords(text, str(path))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        invocation.fail(f"{path}: cannot be read: {error}", EXIT_UNAVAILABLE)
    except CredentialsError as error:
        invocation.fail(str(error), EXIT_CONFIG, following=f"correct {path}")
    return lines


def _change(invocation: Invocation, path: Path, edit: Callable[[list[str]], list[str]]) -> None:
    """Puts what `edit` makes of the lines in their place, whole or not at all, while nobody else does."""
    from lae_monitor.cli.owner import as_owner  # noqa: PLC0415
    from lae_monitor.net.tubs_files import locked, replace  # noqa: PLC0415

    try:
        with as_owner(invocation.settings.state.path), locked(path.parent):
            lines = _read(invocation, path)
            while lines and not lines[-1].strip():
                lines.pop()
            replace(path, "".join(f"{line}\n" for line in edit(lines)).encode())
    except OSError as error:
        invocation.fail(
            f"{path}: {error.strerror}",
            EXIT_UNAVAILABLE,
            following="run this as the account that owns the state folder",
        )


def _parse(lines: list[str]) -> list[Line]:
    found = []
    made: re.Match[str] | None = None
    for number, line in enumerate(map(str.strip, lines)):
        if line and not line.startswith("#"):
            key = _id(line, number)
            when = made[2] if made is not None and made[1] == key else ""
            found.append(Line(number, re.split("[:/]", line, maxsplit=1)[0], key, when, "sha256$" in line))
        made = _MADE.fullmatch(line)
    return found


def _id(line: str, number: int) -> str:
    """What a line is called by. A password in clear has no digest that could be shown: it is called by its place."""
    if "sha256$" not in line:
        return f"line-{number + 1}"
    return hashlib.sha256(line.encode()).hexdigest()[:ID_DIGITS]

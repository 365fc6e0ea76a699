"""`lae-monitor token`: passwords by which clusters send samples, tokens by which products send crashes, and tokens for pages
and API.

They are kept as salted hashes, a line each, in the file that the service reads; it notices a change by itself.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, overload

import click

from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.table import table

PASSWORD_BYTES: Final = 24  # 192 random bits, 32 characters
ID_DIGITS: Final = 8
ROLES: Final = ("feed", "viewer", "operator")  # of net/access.py

_MADE: Final = re.compile(r"# ([0-9a-f]{8}) made (\S+)")


class Line(NamedTuple):
    """A line of the password file that lets somebody in. `number` counts from 0; `user` as it stands in the file."""

    number: int
    user: str
    id: str
    made: str
    hashed: bool


@click.group()
@common
def token(_invocation: Invocation) -> None:
    """Make, list and revoke passwords of clusters (sonar), tokens of products (crashes), tokens for pages and API (web)."""


KINDS: Final = ("sonar", "crashes", "web")
_KIND: Final = click.argument("kind", type=click.Choice(KINDS), metavar="KIND")


@token.command()
@_KIND
@click.option("--cluster", metavar="CLUSTER", help="sonar: the cluster that may send with it; default: fleet.name.")
@click.option("--product", metavar="PRODUCT", help="crashes: the product whose reports need it from now on.")
@click.option("--submitter", is_flag=True, help="crashes: for programs that hand on reports with an id.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="web: feed reads feeds only, viewer (the default) all, operator decides, too.",
)
@common
def new(
    invocation: Invocation, kind: str, cluster: str | None, product: str | None, submitter: bool, role: str | None
) -> None:
    """Make a password or token and print it, this once. Older ones of the same user stay good until revoked.

    KIND is sonar, crashes or web.

    \b
    lae-monitor token new sonar --cluster mlx.hpc.uio.no
    lae-monitor token new crashes --product "My Editor"
    lae-monitor token new crashes --submitter
    lae-monitor token new web --role operator
    """
    from lae_monitor.core.time import format_time, wall_clock
    from lae_monitor.net.passwords import hash_password

    user = _user(invocation, kind, cluster, product, submitter, role)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    entry = f"{user}:{hash_password(password)}"
    path = _file(invocation, kind)

    def add(lines: list[str]) -> list[str]:
        made = format_time(wall_clock(), digits=0)
        return [*lines, f"# {_id(entry, 0)} made {made}", entry]

    _change(invocation, path, add)
    whose = _NAMES[kind]
    data = {"kind": kind, whose: _shown(kind, user), "id": _id(entry, 0), "password": password, "file": str(path)}
    invocation.answer(data, password)
    if not invocation.as_json:
        what = {"sonar": "password of the cluster", "crashes": "token of", "web": "token of the role"}[kind]
        click.echo(
            f"{_id(entry, 0)}: {what} {_shown(kind, user)}, shown only this once; its hash is kept in {path}\n"
            f"Next: {_following(kind, user)}",
            err=True,
        )


_NAMES: Final = {"sonar": "cluster", "crashes": "product", "web": "role"}  # what a user is called, by kind
_BELONGS: Final = {"--cluster": "sonar", "--product": "crashes", "--submitter": "crashes", "--role": "web"}


def _user(
    invocation: Invocation, kind: str, cluster: str | None, product: str | None, submitter: bool, role: str | None
) -> str:
    """Whom a password is for, as it stands in the file."""
    given = {"--cluster": cluster, "--product": product, "--submitter": submitter or None, "--role": role}
    for option, belongs in _BELONGS.items():
        if given[option] is not None and belongs != kind:
            invocation.fail(f"{kind}: {option} belongs to {belongs}", EXIT_USAGE)
    if kind == "web":
        return role or "viewer"
    return _cluster(invocation, cluster) if kind == "sonar" else _product(invocation, product, submitter)


def _cluster(invocation: Invocation, cluster: str | None) -> str:
    from lae_monitor.core.names import ClusterName
    from lae_monitor.core.refusals import Refused

    try:
        return str(ClusterName(cluster)) if cluster is not None else invocation.settings.fleet.name
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE)


def _product(invocation: Invocation, product: str | None, submitter: bool) -> str:
    from lae_monitor.kinds.crashes.program import MAX_LENGTH, clean
    from lae_monitor.kinds.crashes.tokens import SUBMITTER, user_of

    if submitter == (product is not None):
        invocation.fail("crashes: say for whom, with --product NAME or --submitter", EXIT_USAGE)
    if product is None:
        return SUBMITTER
    if not clean(product) or len(product.strip()) > MAX_LENGTH or not product.isprintable():
        invocation.fail(f"a product has 1 to {MAX_LENGTH} printable characters", EXIT_USAGE)
    return user_of(product)


def _shown(kind: str, user: str) -> str:
    if kind in {"sonar", "web"}:
        return user
    from lae_monitor.kinds.crashes.tokens import SUBMITTER, product_of

    return "submitters" if user == SUBMITTER else product_of(user)


def _following(kind: str, user: str) -> str:
    if kind == "sonar":
        return (
            f"on the nodes of {user}, write {user}:PASSWORD into the file that sonar's curl is given with --config "
            "or --user; no restart is needed here"
        )
    if kind == "web":
        return _WAYS["feed" if user == "feed" else "any"]
    return (
        "give it to the clients, as Authorization: Bearer TOKEN or as ?token=TOKEN at the end of the URL; reports "
        "without it are refused from now on, and no restart is needed here"
    )


_WAYS: Final = {
    "feed": "put it at the end of a feed's address: /incidents.atom?token=TOKEN; no restart is needed here",
    "any": (
        "send it as Authorization: Bearer TOKEN, or give it to a browser as the password; for lae-monitor, write it into "
        "a file of mode 0600 and set LAE_MONITOR_TOKEN_FILE to that file; no restart is needed here"
    ),
}


@token.command("list")
@common
def list_tokens(invocation: Invocation) -> None:
    """List passwords and tokens: id, kind, owner, time. Never the secrets themselves."""
    kept: list[dict[str, object]] = []
    for kind in KINDS:
        path = _file(invocation, kind, needed=False)
        for line in _parse(_read(invocation, path)) if path is not None else ():
            about = {"kind": kind, _NAMES[kind]: _shown(kind, line.user), "file": str(path), **line._asdict()}
            kept.append({**about, "number": line.number + 1})

    def text() -> str:
        if not kept:
            return "There are none: samples are refused, and crash reports need none\nNext: lae-monitor token new sonar"
        rows = (
            [*(str(token[key]) for key in ("id", "kind", _NAMES[str(token["kind"])])), str(token["made"] or "-"),
             "hashed" if token["hashed"] else "in clear"]
            for token in kept
        )  # fmt: skip
        return "\n".join(table([""] * 5, rows))

    invocation.answer({"tokens": kept}, text)


@token.command()
@_KIND
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@common
def revoke(invocation: Invocation, kind: str, ids: tuple[str, ...]) -> None:
    """Revoke passwords and tokens, by the ID that `token list` shows. They are refused from now on.

    KIND is sonar, crashes or web.
    """
    path = _file(invocation, kind)
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
    lost = sorted({line.user for line in gone} - {line.user for line in left})
    text = [f"{line.id}: revoked, it was of {_shown(kind, line.user)}" for line in gone]
    text += [f"{_shown(kind, user)} {_left_without(invocation, kind)}" for user in lost]
    if lost and kind == "sonar":
        text.append(f"Next: lae-monitor token new {kind} --cluster {lost[0]}")
    answer = {"revoked": [line.id for line in gone], "without_any": [_shown(kind, user) for user in lost]}
    invocation.answer(answer, "\n".join(text))


def _left_without(invocation: Invocation, kind: str) -> str:
    if kind == "sonar":
        return "has no password left: it can send nothing"
    if kind == "web":
        return "has no token left"
    if invocation.settings.gatherers["crashes"].require_token:
        return "has no token left: its reports are refused"
    return "has no token left: its reports are taken without one"


# ---- the file ------------------------------------------------------------------------------------------------------


@overload
def _file(invocation: Invocation, kind: str, *, needed: Literal[True] = True) -> Path: ...
@overload
def _file(invocation: Invocation, kind: str, *, needed: Literal[False]) -> Path | None: ...
def _file(invocation: Invocation, kind: str, *, needed: bool = True) -> Path | None:
    from lae_monitor.kinds.crashes.check import tokens_path
    from lae_monitor.kinds.sonar.check import auth_file
    from lae_monitor.net.access import tokens_in

    if kind == "web":
        return tokens_in(invocation.settings.credentials)
    path = auth_file(invocation.settings) if kind == "sonar" else tokens_path(invocation.settings)
    if path is None and needed:
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
    from lae_monitor.net.passwords import CredentialsError, parse_passwords

    try:
        text = path.read_text("utf-8")
        lines = text.split("\n")
        parse_passwords(text, str(path), may_be_empty=True)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        invocation.fail(f"{path}: cannot be read: {error}", EXIT_UNAVAILABLE)
    except CredentialsError as error:
        invocation.fail(str(error), EXIT_CONFIG, following=f"correct {path}")
    return lines


def _change(invocation: Invocation, path: Path, edit: Callable[[list[str]], list[str]]) -> None:
    """Puts what `edit` makes of the lines in their place, whole or not at all, while nobody else does."""
    from lae_monitor.archive.small_files import locked, replace
    from lae_monitor.terminal.owner import as_owner

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

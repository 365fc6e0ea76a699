"""`lae-monitor token`: passwords and tokens of those who send reports, as each kind says, and tokens for pages and API.

They are kept as salted hashes, a line each, in the file that the service reads; it notices a change by itself.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from lae_monitor.core.kind import Option, Tokens, load
from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.table import table

if TYPE_CHECKING:
    from lae_monitor.config import Settings

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


class _Roles(Tokens):
    whose = "role"
    called = "token of the role"
    options = (
        Option("--role", "feed reads feeds only, viewer (the default) all, operator decides, too.", "|".join(ROLES)),
    )

    def __init__(self, feeds: Sequence[str]) -> None:
        self._feeds = feeds

    def file(self, settings: Settings) -> Path:
        from lae_monitor.net.access import tokens_in

        return tokens_in(settings.credentials)

    def user(self, _settings: Settings, given: dict[str, Any]) -> str:
        role = given["role"] or "viewer"
        if role not in ROLES:
            raise ValueError(f"--role: {role!r} is not one of {', '.join(ROLES)}")
        return str(role)

    def following(self, user: str) -> str:
        if user == "feed":
            addresses = ", ".join(f"{feed}?token=TOKEN" for feed in self._feeds)
            return f"put it at the end of a feed's address: {addresses}; no restart is needed here"
        return (
            "send it as Authorization: Bearer TOKEN, or give it to a browser as the password; for lae-monitor, write it "
            "into a file of mode 0600 and set LAE_MONITOR_TOKEN_FILE to that file; no restart is needed here"
        )

    def left_without(self, _settings: Settings, _user: str) -> str:
        return "has no token left"


WEB: Final = "web"  # the pages and the API


def _tokens(invocation: Invocation) -> dict[str, Tokens]:
    """By kind."""
    return {kind.name: load(kind.tokens) for kind in invocation.kinds if kind.tokens} | {
        WEB: _Roles([kind.feed for kind in invocation.kinds if kind.feed])
    }


class _Kind(click.ParamType[str]):
    name = "kind"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        assert context is not None
        known = click.Choice(list(_tokens(context.ensure_object(Invocation))))
        return str(known.convert(value, parameter, context))


class _New(click.Command):
    """A command with the options by which kinds say whose a token is."""

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        options = {
            option.name: click.Option(
                [option.name], metavar=option.metavar or None, is_flag=not option.metavar, help=f"{name}: {option.help}"
            )
            for name, tokens in _tokens(context.ensure_object(Invocation)).items()
            for option in tokens.options
        }
        return [*self.params, *options.values(), *super().get_params(context)[len(self.params) :]]


@click.group()
@common
def token(_invocation: Invocation) -> None:
    """Make, list and revoke passwords and tokens: of those who send reports, by kind, and for pages and API (web)."""


_KIND: Final = click.argument("kind", type=_Kind(), metavar="KIND")


@token.command(cls=_New)
@_KIND
@common
def new(invocation: Invocation, kind: str, **given: Any) -> None:
    """Make a password or token and print it, this once. Older ones of the same user stay good until revoked.

    KIND is a kind whose reports need one, or web. Options say for whom it is.

    \b
    lae-monitor token new web --role operator
    """
    from lae_monitor.core.refusals import Refused
    from lae_monitor.core.time import format_time, wall_clock
    from lae_monitor.net.passwords import hash_password

    tokens = _tokens(invocation)
    for name, other in tokens.items():
        for option in other.options:
            if name != kind and given[option.name.strip("-")] and option not in tokens[kind].options:
                invocation.fail(f"{kind}: {option.name} belongs to {name}", EXIT_USAGE)
    its = tokens[kind]
    try:
        user = its.user(invocation.settings, given)
    except (ValueError, Refused) as error:
        invocation.fail(str(error), EXIT_USAGE)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    entry = f"{user}:{hash_password(password)}"
    path = _file(invocation, its)

    def add(lines: list[str]) -> list[str]:
        made = format_time(wall_clock(), digits=0)
        return [*lines, f"# {_id(entry, 0)} made {made}", entry]

    _change(invocation, path, add)
    shown = its.shown(user)
    data = {"kind": kind, its.whose: shown, "id": _id(entry, 0), "password": password, "file": str(path)}
    invocation.answer(data, password)
    if not invocation.as_json:
        click.echo(
            f"{_id(entry, 0)}: {its.called} {shown}, shown only this once; its hash is kept in {path}\n"
            f"Next: {its.following(user)}",
            err=True,
        )


@token.command("list")
@common
def list_tokens(invocation: Invocation) -> None:
    """List passwords and tokens: id, kind, owner, time. Never the secrets themselves."""
    kept: list[dict[str, object]] = []
    tokens = _tokens(invocation)
    for kind, its in tokens.items():
        path = its.file(invocation.settings)
        for line in _parse(_read(invocation, path)) if path is not None else ():
            about = {"kind": kind, its.whose: its.shown(line.user), "file": str(path), **line._asdict()}
            kept.append({**about, "number": line.number + 1})

    def text() -> str:
        if not kept:
            means = ", ".join(its.if_none for its in tokens.values() if its.if_none)
            return f"There are none: {means}\nNext: lae-monitor token new --help"
        rows = (
            [*(str(token[key]) for key in ("id", "kind", tokens[str(token["kind"])].whose)), str(token["made"] or "-"),
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

    KIND is a kind whose reports need one, or web.
    """
    its = _tokens(invocation)[kind]
    path = _file(invocation, its)
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
    text = [f"{line.id}: revoked, it was of {its.shown(line.user)}" for line in gone]
    text += [f"{its.shown(user)} {its.left_without(invocation.settings, user)}" for user in lost]
    answer = {"revoked": [line.id for line in gone], "without_any": [its.shown(user) for user in lost]}
    invocation.answer(answer, "\n".join(text))


# ---- the file ------------------------------------------------------------------------------------------------------


def _file(invocation: Invocation, tokens: Tokens) -> Path:
    path = tokens.file(invocation.settings)
    if path is None:
        message, following = tokens.not_asked
        invocation.fail(message, EXIT_CONFIG, following=following)
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

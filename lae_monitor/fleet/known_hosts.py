"""What known_hosts files say of a host, read as OpenSSH reads them: hashed names, patterns, ports, marks."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

SSH_PORT: Final = 22
REVOKED: Final = "@revoked"
AUTHORITY: Final = "@cert-authority"


class Known(NamedTuple):
    """One line about a host: its mark, if it has one, its key, and where it stands."""

    mark: str
    kind: str  # such as ssh-ed25519
    key: str  # in base64
    path: Path
    line: int


class Believed(NamedTuple):
    """What is known of one host. `keys` and `authorities` are its own; `without_port` are those of the host's usual port,
    which hold for another one where they are the right ones; `revoked` are all there are, of any host.
    """

    keys: list[Known]
    without_port: list[Known]
    authorities: list[Known]
    revoked: frozenset[str]

    @property
    def right(self) -> list[Known]:
        return self.keys or self.without_port


def name_of(host: str, port: int) -> str:
    """A host as known_hosts names it."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


def known(host: str, port: int, paths: Iterable[Path]) -> Believed:
    """What the files say of a host; those that are not there say nothing.

    Raises:
        OSError: a file is there, and cannot be read.
    """
    lines = [line for path in paths for line in _lines(path)]
    own = _about(lines, name_of(host, port))
    return Believed(
        [one for one in own if not one.mark],
        [one for one in _about(lines, name_of(host, SSH_PORT)) if not one.mark],
        [one for one in own if one.mark == AUTHORITY],
        frozenset(one.key for _, one in lines if one.mark == REVOKED),
    )


def _about(lines: Iterable[tuple[str, Known]], name: str) -> list[Known]:
    return [one for names, one in lines if one.mark != REVOKED and _means(names, name)]


def _lines(path: Path) -> Iterator[tuple[str, Known]]:
    """The names of each line, and what it says; lines that say nothing are passed over, as OpenSSH does."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        mark, words = "", line.split()
        if words and words[0].startswith("@"):
            mark, *words = words
        if len(words) >= 3 and not words[0].startswith("#") and mark in {"", REVOKED, AUTHORITY}:
            yield words[0], Known(mark, words[1], words[2], path, number)


def _means(names: str, name: str) -> bool:
    """Whether a line's first field is about a host: one that is excluded is not meant, whatever else it says."""
    if names.startswith("|"):
        return _is_hash_of(names, name)
    found = False
    for pattern in names.lower().split(","):
        if _matches(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _matches(pattern: str, name: str) -> bool:
    """OpenSSH knows `*` and `?` alone: brackets are those of `[host]:port`."""
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern), name) is not None


def _is_hash_of(field: str, name: str) -> bool:
    try:
        _, version, salt, digest = field.split("|")
        wanted = base64.b64decode(digest)
        made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
    except (ValueError, binascii.Error):
        return False
    return version == "1" and hmac.compare_digest(made, wanted)

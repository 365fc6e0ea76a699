# ruff: noqa: INP001, RUF100 - a link puts this file among Ansible's modules too, where it is of no package
"""The one editor of a Tahoe-LAFS node's tahoe.cfg: an edit changes the lines of one option, and no other byte.

A file means what Tahoe-LAFS reads in it: Python's configparser, with its interpolation (a `%` in a value is written `%%`),
options in any case, of a repeated option the last. No edit is handed out before configparser has found in it the new value,
and everything else as it was.

Python's library only, for Python 3.7 and newer, and one file however long: Ansible sends it to the hosts, to run with the
system's Python.
"""

from __future__ import annotations

import configparser
import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

HIDDEN = "***"

_BOM = b"\xef\xbb\xbf"
_SECTION, _OPTION, _MORE, _COMMENT, _BLANK = "section", "option", "continuation", "comment", "blank"
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_SECRET_NAME = re.compile(r"(?i)furl|passw|secret|key|token|credential|auth")
_SECRET_TEXT = re.compile(r"(?i:pb://)|URI(?::|%3[Aa])|://[^/\s]*@")
_ACL = "system.posix_acl_access"


class BadOption(ValueError):
    """A section, option or value that cannot stand in tahoe.cfg. The sentence never holds the value."""


class BadFile(ValueError):
    """A file that cannot be edited. The sentence holds no value of it."""


class Edited(NamedTuple):
    """What an edit did, or would do. The bytes of the file hold secrets."""

    changed: bool
    before: bytes
    after: bytes

    def __repr__(self) -> str:
        return f"Edited(changed={self.changed})"


def get(data: bytes, section: str, option: str) -> str | None:
    """What Tahoe reads; None where nothing is set. A value in [DEFAULT] counts, as it does for Tahoe.

    Raises:
        BadOption, BadFile
    """
    _check(section, option)
    return _value(_parsed(_text(data)), section, option)


def set_option(data: bytes, section: str, option: str, value: str) -> bytes:
    """`data` with `option` set: in its own line; else in the place of an empty `#option =`, or below one with a value; else
    at the end of its section, which is made at the end of the file. The very same bytes if Tahoe reads that value already.

    Raises:
        BadOption, BadFile
    """
    _check(section, option, value)
    return _edited(data, section, option, value)


def unset_option(data: bytes, section: str, option: str) -> bytes:
    """`data` with `option` commented out, its value gone: `#option =`. A later `set_option` takes that place again.

    Raises:
        BadOption
        BadFile: also where [DEFAULT] sets the option in every section.
    """
    _check(section, option)
    return _edited(data, section, option, None)


def without_secrets(data: bytes, section: str, option: str, mark: str = HIDDEN) -> str:
    """The file as it may be shown: `mark` for what `option` holds, and `***` for all else that is, or may be, a secret.

    Raises:
        BadFile
    """
    text = _text(data)
    _parsed(text)
    lines = _scanned(text)
    secret = {line.place for line in lines if _SECRET_NAME.search(line.place[1]) or _SECRET_TEXT.search(line.text)}
    secret.add((section, option.lower()))
    shown = []
    for line in lines:
        found = _SECRET_TEXT.search(line.text)
        if found and found.start() < len(line.indent + line.stem):
            shown.append(line.text[: found.start()] + HIDDEN + line.ending)
        elif line.place[1] and line.place in secret:
            hidden = mark if line.kind != _COMMENT and line.place == (section, option.lower()) else HIDDEN
            shown.append(_written(line.indent, line.stem, hidden if line.value else "", line.ending))
        else:
            shown.append(line.text[: found.start()] + HIDDEN + line.ending if found else line.text)
    return "".join(shown).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_secret(option: str, value: str) -> bool:
    """Whether the value of `option` is, or may be, a secret."""
    return bool(_SECRET_NAME.search(option) or _SECRET_TEXT.search(value))


def edit_file(path: str | os.PathLike[str], edit: Callable[[bytes], bytes], check: bool = False) -> Edited:
    """Puts what `edit` makes of the file in its place, by a rename. A crash or a full disk leaves the old file whole.

    Mode, owner, group and access list stay; a symbolic link stays one, and its target is edited. Nothing is written for an
    edit that changes nothing, or with `check`.

    Raises:
        BadFile: no regular file, or somebody changed it meanwhile.
        OSError: `why` makes a sentence of it.
    """
    parent, name = os.path.split(os.path.realpath(path))
    folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):  # and not opened, for that may do things to a device
            raise BadFile("it is no regular file; name the tahoe.cfg of a node")
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(old, "rb") as file:
            was = os.fstat(old)
            before = file.read()
            after = edit(before)
            if after != before and not check:
                _replace(folder, name, old, was, after)
    finally:
        os.close(folder)
    return Edited(after != before, before, after)


def why(error: OSError) -> str:
    """What kept `edit_file` from its work, and what to do."""
    advice = {
        errno.ENOENT: "name the tahoe.cfg of a node of this host",
        errno.EACCES: "do it as the file's owner, or as root",
        errno.EPERM: "do it as the file's owner, or as root; lsattr shows whether it is immutable",
        errno.EBUSY: "it is mounted as a single file: edit it where it comes from",
        errno.ENOSPC: "the file is as it was: free some space, then try again",
    }.get(error.errno or 0, "see to that, then try again")
    return f"{(error.strerror or type(error).__name__).lower()}; {advice}"


def _replace(folder: int, name: str, old: int, was: os.stat_result, data: bytes) -> None:
    """The new file is its owner's alone until it is whole, and is gone after an error."""
    temporary = f".tahoe.cfg-{os.urandom(8).hex()}.tmp"
    new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(new, "wb") as file:
            made = os.fstat(new)
            if (made.st_uid, made.st_gid) != (was.st_uid, was.st_gid):
                os.fchown(new, was.st_uid, was.st_gid)
            file.write(data)
            file.flush()
            _keep_attributes(old, new)
            os.fchmod(new, stat.S_IMODE(was.st_mode))
            os.fsync(new)
        _refuse_if_changed(folder, name, was)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _refuse_if_changed(folder: int, name: str, was: os.stat_result) -> None:
    now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (now.st_ino, now.st_size, now.st_ctime_ns) != (was.st_ino, was.st_size, was.st_ctime_ns):
        raise BadFile("somebody else changed it at the same time; look at it, then try again")


def _keep_attributes(old: int, new: int) -> None:
    """Keeps access list, security label and the like; but not the access list that the folder gives to new files."""
    try:
        for name in os.listxattr(old):
            os.setxattr(new, name, os.getxattr(old, name))
        if _ACL in os.listxattr(new) and _ACL not in os.listxattr(old):
            os.removexattr(new, _ACL)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def _check(section: str, option: str, value: str = "") -> None:
    for what, name, never in (("a section", section, "[]"), ("an option", option, "=:")):
        if not name or not _fits(name) or set(name) & set(never) or name[0] in "#;[":
            raise BadOption(f"such {what} cannot stand in tahoe.cfg; give a name like node, or log_gatherer.furl")
    if section == "DEFAULT":
        raise BadOption("[DEFAULT] holds for every section; name the one that is meant, such as node")
    if not _fits(value):
        raise BadOption(
            f"the value of {option} holds a line break, another control character, what is not UTF-8, or blanks at an end; "
            "give it as one line without them"
        )
    if option.lower().endswith(".furl") and "#" in value:
        raise BadOption(f"the value of {option} holds a #, with which Tahoe does not start; give a FURL without")


def _fits(text: str) -> bool:
    """Whether it stays as it is when it is written in one line and read again."""
    is_utf8 = text == text.encode("utf-8", "replace").decode("utf-8")
    return is_utf8 and text == text.strip() and not _CONTROL.search(text)


def _text(data: bytes) -> str:
    return data[len(_BOM) if data.startswith(_BOM) else 0 :].decode("utf-8", "surrogateescape")


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False)
    try:
        parser.read_file(_as_lines(text))
    except configparser.ParsingError as error:
        number = getattr(error, "lineno", 0) or error.errors[0][0]
        raise BadFile(f"Tahoe cannot read line {number}, no comment, [section], or option in one; mend it") from None
    return parser


def _as_lines(text: str) -> Iterator[str]:
    """The lines that Tahoe reads: for Python, a lone carriage return ends one, too."""
    return io.StringIO(text, newline="")


def _value(parser: configparser.ConfigParser, section: str, option: str) -> str | None:
    try:
        return parser.get(section, option) if parser.has_option(section, option) else None
    except configparser.InterpolationError:
        raise BadFile(f"Tahoe cannot read [{section}] {option}: a % of a value is written %%; mend that") from None


def _edited(data: bytes, section: str, option: str, value: str | None) -> bytes:
    text = _text(data)
    before = _parsed(text)
    with suppress(BadFile):  # a value that Tahoe cannot read is one to replace
        if _value(before, section, option) == value:
            return data
    written = None if value is None else value.replace("%", "%%")
    others = _others(before, section, option)
    for way in _ways(_scanned(text), section, option, written):
        after = _parsed(way)
        if _others(after, section, option) == others and after.get(section, option, raw=True, fallback=None) == written:
            return (_BOM if data.startswith(_BOM) else b"") + way.encode("utf-8", "surrogateescape")
    raise BadFile(f"[{section}] {option} cannot be changed alone, for [DEFAULT] or a value around it; edit it by hand")


def _others(parser: configparser.ConfigParser, section: str, option: str) -> list[dict[str, dict[str, str]]]:
    """All that is set, apart from the one option; of a section that is missing, what it would have."""
    found = {name: dict(parser.items(name, raw=True)) for name in parser.sections()}
    found.setdefault(section, dict(parser.defaults())).pop(option.lower(), None)
    return [found, {"DEFAULT": dict(parser.defaults())}]


class _Line(NamedTuple):
    text: str  # whole, with its ending
    kind: str
    place: tuple[str, str]  # its section, and the option that it sets, continues, or would set were it no comment
    indent: str
    stem: str  # what is written before the value
    value: str
    ending: str


def _scanned(text: str) -> list[_Line]:
    """The lines of a text that configparser can read, each as configparser takes it."""
    lines: list[_Line] = []
    section = option = ""
    level = 0
    for raw in _as_lines(text):
        content, indent = raw.strip(), raw[: len(raw) - len(raw.lstrip())]
        ending = next((end for end in ("\r\n", "\n", "\r") if raw.endswith(end)), "")
        found = configparser.RawConfigParser.OPTCRE.match(content)
        stem, value = (content[: found.end("vi")], found.group("value")) if found else ("", content)
        if not content:
            kind, place = _BLANK, (section, "")
        elif content[0] in "#;":
            kind, place = _COMMENT, (section, stem[1:-1].strip().lower())
        elif option and len(indent) > level:
            kind, place, stem, value = _MORE, (section, option), "", content
        else:
            level = len(indent)
            header = configparser.RawConfigParser.SECTCRE.match(content)
            section, option = (header.group("header"), "") if header else (section, stem[:-1].strip().lower())
            kind, place = _SECTION if header else _OPTION, (section, option)
        lines.append(_Line(raw, kind, place, indent, stem, value, ending))
    return lines


def _written(indent: str, stem: str, value: str, ending: str) -> str:
    """A line, with a blank after its delimiter if there is one before it."""
    blank = " " if value and (stem[-2:-1].isspace() or stem[-1:] == ":") else ""
    return indent + stem + blank + value + ending


def _ways(lines: list[_Line], section: str, option: str, written: str | None) -> Iterator[str]:
    """Texts with the edit made, the best place first. Some say something else than they should: a comment may stand amid the
    lines of a value, and a line too far to the right continues the one above.
    """
    place = (section, option.lower())
    own = [number for number, line in enumerate(lines) if line.place == place and line.kind == _OPTION]
    if own:
        texts = ["" if line.place == place and line.kind in (_OPTION, _MORE) else line.text for line in lines]
        line = lines[own[-1]]
        stem = line.stem if written is not None else f"#{line.stem}"
        texts[own[-1]] = _written(line.indent, stem, written or "", line.ending)
        yield "".join(texts)
    if written is None:
        return
    comments = [number for number, line in enumerate(lines) if line.place == place and line.kind == _COMMENT]
    for empty, number in sorted(((not lines[number].value, number) for number in comments), reverse=True):
        stem = lines[number].stem[1:].strip()
        yield from _with_a_line(lines, number if empty else number + 1, empty, lines[number].indent, stem, written)
    if any(line.kind == _SECTION and line.place[0] == section for line in lines):
        at = _end(lines, section)
        above = next(line for line in reversed(lines[:at]) if line.kind in (_SECTION, _OPTION))
        yield from _with_a_line(lines, at, 0, above.indent, f"{option} =", written)
    else:
        end = next((line.ending for line in lines if line.ending), "\n")
        last = lines[-1] if lines else _Line("", _BLANK, ("", ""), "", "", "", end)
        yield "".join(
            [line.text for line in lines]
            + [end for needed in (not last.ending, last.kind != _BLANK) if needed]
            + [f"[{section}]{end}", _written("", f"{option} =", written, last.ending and end)]
        )


def _end(lines: list[_Line], section: str) -> int:
    """Before which line the section ends: without blank lines, nor comments that stand right above the next one."""
    headers = [number for number, line in enumerate(lines) if line.kind == _SECTION]
    start = max(number for number in headers if lines[number].place[0] == section)
    end = at = min([number for number in headers if number > start], default=len(lines))
    while end < len(lines) and lines[at - 1].kind == _COMMENT:
        at -= 1
    while lines[at - 1].kind == _BLANK:
        at -= 1
    return at


def _with_a_line(lines: list[_Line], at: int, replaced: int, indent: str, stem: str, value: str) -> Iterator[str]:
    """With a line more, or in the place of one; indented as given, else as any line is."""
    for lead in dict.fromkeys([indent, *(line.indent for line in lines)]):
        texts = [line.text for line in lines]
        ending = lines[at - 1 + replaced].ending
        new = _written(lead, stem, value, ending)
        if not ending and not replaced:
            new = next((line.ending for line in lines if line.ending), "\n") + new
        texts[at : at + replaced] = [new]
        yield "".join(texts)

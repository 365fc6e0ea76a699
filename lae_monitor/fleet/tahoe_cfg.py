"""The one editor of a Tahoe-LAFS node's tahoe.cfg: an edit changes the lines of one option, and no other byte.

What a file means is what Tahoe-LAFS 1.20 reads in it: Python's configparser with its interpolation (so a `%` of a value is
written `%%`), options in any case, sections as they are written, `=` or `:`, continuation lines, and of a repeated option the
last. No edit is handed out before configparser has read it and found the new value, and everything else as it was.

    get, set_option, unset_option     bytes in, text or bytes out, no I/O
    without_secrets                   a file as it may be shown
    edit_file                         puts an edit on the disk: the old file or the new one, whole, whatever happens

Python's library only, for Python 3.7 and newer: Ansible sends this file to the hosts, where the system's Python runs it.
"""

from __future__ import annotations

import configparser
import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

HIDDEN = "***"
ATTEMPT_MODE = 0o600  # of the new file until it is whole
ACL = "system.posix_acl_access"

_BOM = b"\xef\xbb\xbf"
_HEADER, _OPTION, _MORE, _COMMENT, _BLANK = "header", "option", "continuation", "comment", "blank"
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_SECRET_NAME = re.compile(r"(?i)furl|passw|secret|key|token|credential|auth")
_SECRET_TEXT = re.compile(r"(?i)pb://|\bURI(?::|%3A)|://[^/\s]*@")


class BadOption(ValueError):
    """This section, option or value cannot stand in tahoe.cfg. The sentence never holds the value."""


class BadFile(ValueError):
    """This file is not one that can be edited. The sentence holds nothing of the file."""


class Edited(NamedTuple):
    """What an edit did, or would do. `before` and `after` are the file's bytes: they hold secrets."""

    changed: bool
    before: bytes
    after: bytes

    def __repr__(self) -> str:
        return "Edited(changed={})".format(self.changed)


class _Line(NamedTuple):
    text: str  # with its ending
    kind: str
    section: str
    option: str  # as configparser spells it; of a comment: the option that is commented out; else ""

    @property
    def indent(self) -> str:
        return self.text[: len(self.text) - len(self.text.lstrip())]

    @property
    def ending(self) -> str:
        return "\r\n" if self.text.endswith("\r\n") else "\n" if self.text.endswith("\n") else ""

    @property
    def parts(self) -> tuple[str, str]:
        """Of an option, or of a commented-out one: all up to the delimiter, as it is written; and the value."""
        text = self.text.strip()
        found = configparser.RawConfigParser.OPTCRE.match(text[1:].strip() if self.kind == _COMMENT else text)
        return (found.string[: found.end("vi")], found.group("value")) if found else ("", "")


# ---- Pure ----------------------------------------------------------------------------------------------------------


def get(data: bytes, section: str, option: str) -> str | None:
    """What Tahoe reads; None where nothing is set. A value in [DEFAULT] counts, as it does for Tahoe.

    Raises:
        BadOption, BadFile
    """
    _check_names(section, option)
    return _value(_parsed(_text(data)), section, option)


def set_option(data: bytes, section: str, option: str, value: str) -> bytes:
    """`data` with `option` set: in its own line; else in the place of an empty `#option =`, or below one with a value; else
    at the end of its section, which is made at the end of the file. The very same bytes if Tahoe reads that value already.

    Raises:
        BadOption, BadFile
    """
    _check_names(section, option)
    _check_value(option, value)
    text = _text(data)
    before = _parsed(text)
    with suppress(BadFile):  # a value that Tahoe cannot read is one to replace
        if _value(before, section, option) == value:
            return data
    lines = _scanned(text)
    texts = [line.text for line in lines]
    own = _own(lines, section, option)
    if own:
        line = lines[own[-1]]
        texts[own[-1]] = _written(line.indent, line.parts[0], value, line.ending)
        _drop(lines, texts, section, option, keep=own[-1])
    elif any(line.kind == _HEADER and line.section == section for line in lines):
        _insert(lines, texts, section, option, value)
    else:
        end = _ending(lines)
        texts += [] if not lines or lines[-1].ending else [end]
        texts += [end] if lines and lines[-1].kind != _BLANK else []
        last = lines[-1].ending if lines else end
        texts += ["[{}]{}".format(section, end), _written("", option + " =", value, last and end)]
    return _joined(data, before, texts, section, option, value)


def unset_option(data: bytes, section: str, option: str) -> bytes:
    """`data` with `option` commented out, its value gone: `#option =`. A later `set_option` takes that place again.

    Raises:
        BadOption: also for an option that [DEFAULT] sets in every section.
        BadFile
    """
    _check_names(section, option)
    text = _text(data)
    before = _parsed(text)
    if option.lower() in before.defaults() and before.has_section(section):
        raise BadOption("{} is set for every section, in [DEFAULT]; remove it there by hand".format(option))
    lines = _scanned(text)
    own = _own(lines, section, option)
    if not own:
        return data
    texts = [line.text for line in lines]
    line = lines[own[-1]]
    texts[own[-1]] = _written(line.indent, "#" + line.parts[0], "", line.ending)
    _drop(lines, texts, section, option, keep=own[-1])
    return _joined(data, before, texts, section, option, None)


def without_secrets(data: bytes, section: str, option: str, mark: str = HIDDEN) -> str:
    """The file as it may be shown: `mark` for what `option` holds, and `***` for all else that is, or may be, a secret.

    Raises:
        BadFile
    """
    text = _text(data)
    _parsed(text)
    lines = _scanned(text)
    ours = (section, option.lower())
    secret = {
        (line.section, line.option)
        for line in lines
        if _SECRET_NAME.search(line.option) or (line.kind != _COMMENT and _SECRET_TEXT.search(line.text))
    }
    shown = []
    for line in lines:
        place = (line.section, line.option)
        hidden = mark if place == ours else HIDDEN
        found = _SECRET_TEXT.search(line.text)
        if line.kind == _MORE and (place == ours or place in secret):
            shown.append(line.indent + hidden + line.ending)
        elif line.option and (place == ours or place in secret):
            stem, value = line.parts
            stem = line.text.strip()[0] + stem if line.kind == _COMMENT else stem
            shown.append(_written(line.indent, stem, hidden if value or mark != HIDDEN else "", line.ending))
        else:
            shown.append(line.text[: found.start()] + HIDDEN + line.ending if found else line.text)
    return "".join(shown).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# ---- On disk -------------------------------------------------------------------------------------------------------


def edit_file(path: str | os.PathLike[str], edit: Callable[[bytes], bytes], check: bool = False) -> Edited:
    """Puts what `edit` makes of the file in its place, by a rename. A crash or a full disk leaves the old file whole.

    Mode, owner, group and access list stay; a symbolic link stays one, and its target is edited. Nothing is written for an
    edit that changes nothing, or with `check`.

    Raises:
        BadFile: no regular file, or it was changed meanwhile.
        OSError: see `why`.
    """
    path = os.path.realpath(path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = os.path.basename(path)
        if not stat.S_ISREG(
            os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        ):  # opening a device does things
            raise BadFile("this is no regular file; name a node's tahoe.cfg")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=folder), "rb") as old:
            was = os.fstat(old.fileno())
            before = old.read()
            after = edit(before)
            if after != before and not check:
                _replace(folder, name, old.fileno(), was, after)
    finally:
        os.close(folder)
    return Edited(after != before, before, after)


def why(error: OSError) -> str:
    """What kept `edit_file` from its work, and what to do."""
    advice = {
        errno.ENOENT: "name the tahoe.cfg of a node of this host",
        errno.EACCES: "do it as the file's owner, or as root",
        errno.EPERM: "do it as the file's owner, or as root; or see lsattr, for it may be immutable",
        errno.EROFS: "edit it where its file system can be written to",
        errno.EBUSY: "it is mounted as a single file; edit it where it comes from",
        errno.ENOSPC: "free some space and try again; the file is as it was",
        errno.EDQUOT: "free some space and try again; the file is as it was",
    }.get(error.errno or 0, "see to that, then try again")
    return "{}; {}".format((error.strerror or type(error).__name__).lower(), advice)


def _replace(folder: int, name: str, old: int, was: os.stat_result, data: bytes) -> None:
    with _temporary(folder) as (temporary, new):
        if (was.st_uid, was.st_gid) != (os.fstat(new).st_uid, os.fstat(new).st_gid):
            os.fchown(new, was.st_uid, was.st_gid)
        with open(new, "wb", closefd=False) as file:
            file.write(data)
        _keep_attributes(old, new)
        os.fchmod(new, stat.S_IMODE(was.st_mode))
        os.fsync(new)
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if _version(now) != _version(was):
            raise BadFile("somebody else changed it at the same time; look at it, then try again")
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


@contextmanager
def _temporary(folder: int) -> Iterator[tuple[str, int]]:
    """A new file that its owner alone can read. It is gone afterwards, unless it was renamed."""
    name = ".tahoe.cfg-{}.tmp".format(os.urandom(8).hex())
    new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, ATTEMPT_MODE, dir_fd=folder)
    try:
        yield name, new
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(new)


def _keep_attributes(old: int, new: int) -> None:
    """Access lists, security labels and the like. An access list of the folder's own making is not the file's."""
    if not hasattr(os, "listxattr"):
        return
    try:
        names = os.listxattr(old)
        for name in names:
            os.setxattr(new, name, os.getxattr(old, name))
        if ACL in os.listxattr(new) and ACL not in names:
            os.removexattr(new, ACL)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


# ---- What may be written -------------------------------------------------------------------------------------------


def _check_names(section: str, option: str) -> None:
    for what, name, never in (("section", section, "[]"), ("option", option, "=:")):
        if not _fits(name) or not name or any(character in name for character in never):
            raise BadOption("this {} cannot stand in tahoe.cfg; give a name as node or log_gatherer.furl".format(what))
    if option[0] in "#;[":
        raise BadOption("this option would be read as a comment or a section; give a name as log_gatherer.furl")
    if section == "DEFAULT":
        raise BadOption("[DEFAULT] holds for every section; name the one that is meant, such as node")


def _check_value(option: str, value: str) -> None:
    if not _fits(value):
        raise BadOption(
            "the value of {} has a line break, another control character, text that is not UTF-8, or blanks at an end; "
            "give it as one line without them".format(option)
        )
    if option.lower().endswith(".furl") and "#" in value:
        raise BadOption("the value of {} has a #, with which Tahoe does not start; give a FURL without".format(option))


def _fits(text: str) -> bool:
    """Whether it stays as it is when it is written in one line and read again."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return text == text.strip() and not _CONTROL.search(text)


# ---- Reading as Tahoe does -----------------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    return data[len(_BOM) if data.startswith(_BOM) else 0 :].decode("utf-8", "surrogateescape")


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        raise BadFile(
            "line {} stands before the first [section], and Tahoe cannot read it; mend that first".format(error.lineno)
        ) from None
    except configparser.ParsingError as error:
        raise BadFile(
            "line {} is no section, option or comment, and Tahoe cannot read it; mend that first".format(
                error.errors[0][0]
            )
        ) from None
    return parser


def _value(parser: configparser.ConfigParser, section: str, option: str) -> str | None:
    try:
        return parser.get(section, option)
    except (configparser.NoSectionError, configparser.NoOptionError):
        return None
    except configparser.InterpolationError:
        raise BadFile("Tahoe cannot read [{}] {}: a % in a value is written %%".format(section, option)) from None


def _scanned(text: str) -> list[_Line]:
    """The lines of a text that configparser can read, each as configparser takes it."""
    lines = []
    section = option = ""
    level = 0
    for raw in io.StringIO(text):
        line = _Line(raw, _COMMENT, section, "")
        stripped = raw.strip()
        if not stripped:
            line = line._replace(kind=_BLANK)
        elif stripped[0] in "#;":
            line = line._replace(option=_name(line.parts[0]))
        elif option and len(line.indent) > level:
            line = line._replace(kind=_MORE, option=option)
        else:
            level = len(line.indent)
            header = configparser.RawConfigParser.SECTCRE.match(stripped)
            section = header.group("header") if header else section
            line = line._replace(kind=_HEADER if header else _OPTION, section=section)
            option = "" if header else _name(line.parts[0])
            line = line._replace(option=option)
        lines.append(line)
    return lines


def _name(stem: str) -> str:
    """The option that `stem`, which ends with its delimiter, sets: as configparser spells it."""
    return stem[:-1].rstrip().lower()


# ---- Writing -------------------------------------------------------------------------------------------------------


def _own(lines: list[_Line], section: str, option: str) -> list[int]:
    """Where the option is set. Tahoe reads the last."""
    return [
        number
        for number, line in enumerate(lines)
        if (line.kind, line.section, line.option) == (_OPTION, section, option.lower())
    ]


def _drop(lines: list[_Line], texts: list[str], section: str, option: str, keep: int) -> None:
    """Takes away all lines of the option but one; comments and blank lines between them stay."""
    for number, line in enumerate(lines):
        if (
            number != keep
            and line.kind in (_OPTION, _MORE)
            and (line.section, line.option) == (section, option.lower())
        ):
            texts[number] = ""


def _insert(lines: list[_Line], texts: list[str], section: str, option: str, value: str) -> None:
    """Sets an option of a section that is there and does not have it."""
    at, comment = _place(lines, section, option)
    above = next(line for line in reversed(lines[:at]) if line.kind in (_HEADER, _OPTION))
    below = next((line for line in lines[at:] if line.kind in (_HEADER, _OPTION)), None)
    indent = comment.indent if comment else above.indent if above.kind == _OPTION else ""
    if above.kind == _OPTION and len(indent) > len(above.indent):
        indent = above.indent  # else it would continue the option above
    if below and len(indent) < len(below.indent):
        indent = below.indent  # else the option below would continue it
    stem = comment.parts[0] if comment else option + " ="
    if comment and not comment.parts[1]:
        texts[at] = _written(indent, stem, value, comment.ending)
    elif lines[at - 1].ending:
        texts.insert(at, _written(indent, stem, value, lines[at - 1].ending))
    else:
        texts.insert(at, _ending(lines) + _written(indent, stem, value, ""))


def _place(lines: list[_Line], section: str, option: str) -> tuple[int, _Line | None]:
    """The number of the line to replace, if it is an empty `#option =`; else of the one to insert before. And the comment that
    names the option, if there is one.
    """
    named = [
        (number, line)
        for number, line in enumerate(lines)
        if (line.kind, line.section, line.option) == (_COMMENT, section, option.lower())
        and not _is_within_a_value(lines, number)
    ]
    empty = [(number, line) for number, line in named if not line.parts[1]]
    if empty:
        return empty[-1]
    if named:
        return named[-1][0] + 1, named[-1][1]
    start = max(number for number, line in enumerate(lines) if line.kind == _HEADER and line.section == section)
    end = next((number for number in range(start + 1, len(lines)) if lines[number].kind == _HEADER), len(lines))
    at = end
    while end < len(lines) and lines[at - 1].kind == _COMMENT:  # what stands right above the next section belongs to it
        at -= 1
    while lines[at - 1].kind == _BLANK:
        at -= 1
    return at, None


def _is_within_a_value(lines: list[_Line], number: int) -> bool:
    """Whether the value above a comment goes on below it."""
    return next((line.kind for line in lines[number:] if line.kind not in (_COMMENT, _BLANK)), "") == _MORE


def _written(indent: str, stem: str, value: str, ending: str) -> str:
    """A line, with a blank after its delimiter if there is one before it."""
    blank = " " if value and (stem[-1] == ":" or stem[-2:-1].isspace()) else ""
    return indent + stem + blank + value.replace("%", "%%") + ending


def _ending(lines: list[_Line]) -> str:
    return next((line.ending for line in lines if line.ending), "\n")


def _joined(
    data: bytes, before: configparser.ConfigParser, texts: list[str], section: str, option: str, value: str | None
) -> bytes:
    """The new file, once it is seen to be what it should be."""
    text = "".join(texts)
    after = _parsed(text)
    if _value(after, section, option) != value or _others(before, section, option) != _others(after, section, option):
        raise BadFile("this edit would change other options too; edit the file by hand")
    return (_BOM if data.startswith(_BOM) else b"") + text.encode("utf-8", "surrogateescape")


def _others(parser: configparser.ConfigParser, section: str, option: str) -> dict[str, dict[str, str]]:
    found = {name: dict(parser.items(name, raw=True)) for name in parser.sections()}
    found.setdefault(section, dict(parser.defaults()))
    found[section].pop(option.lower(), None)
    found[""] = dict(parser.defaults())
    return found

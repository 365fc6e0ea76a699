"""One TOML file -> typed settings. Mistakes are sentences that say where, which key, and what is wanted instead."""

import difflib
import os
import re
import stat
import tomllib
import typing
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.config.keys import PREFIX, Key, Sections, all_sections, form, keys, shown, unknown, unwrapped
from lae_monitor.config.meaning import contradictions, doubts
from lae_monitor.config.section import Forms, Section, field_of, listed_kinds, single_kinds
from lae_monitor.config.settings import Settings
from lae_monitor.config.values import from_toml, what_it_is
from lae_monitor.core.kind import Kinds
from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import shorten

DEFAULT_PATH: Final = Path("/etc/lae-monitor/lae-monitor.toml")
PATH_VARIABLE: Final = "LAE_MONITOR_CONFIG"
OTHER_VARIABLES: Final = (PATH_VARIABLE, "LAE_MONITOR_TOKEN_FILE")  # ours, and no keys
MAX_FILE: Final = 1 * MiB  # an inventory of 10,000 hosts takes 0.4 MiB


class ConfigError(Exception):
    """The configuration is wrong; `problems` are sentences, one a mistake. Exit code 78."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Loaded(NamedTuple):
    """Settings, and where each value that is no default came from: dotted key -> a file or an environment variable."""

    settings: Settings
    origins: dict[str, str]


class Given(NamedTuple):
    """A value as somebody wrote it. `base`: where relative paths begin. `text`: of a variable, the value as plain text."""

    value: Any
    origin: str
    base: Path
    text: str | None = None


def load(path: Path | None, kinds: Kinds, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings.

    Args:
        path: the file; None for the default one, which may be missing (and must be readable if it is there).
        kinds: those whose sections there are.
        environ: `LAE_MONITOR__SECTION__KEY` overrides a key; the value is TOML, or else plain text.

    Raises:
        ConfigError: with every mistake found.
    """
    return load_with_origins(path, kinds, environ).settings


def load_with_origins(path: Path | None, kinds: Kinds, environ: Mapping[str, str] = os.environ) -> Loaded:
    """As `load`, and where the values came from.

    Raises:
        ConfigError: with every mistake found.
    """
    known = all_sections(kinds)
    source = path if path is not None else DEFAULT_PATH
    tree = _read(source, required=path is not None)
    problems: list[str] = []
    given = _from_file(tree or {}, known, source, problems)
    warnings: list[str] = []
    given |= _from_environment(environ, known, problems, warnings)
    settings = msgspec.structs.replace(
        _build(given, known, problems, source if tree is not None else None), kinds=kinds
    )
    if not problems:
        problems += contradictions(settings, {dotted: value.origin for dotted, value in given.items()})
    if problems:
        raise ConfigError(problems)
    written = {dotted: value.value for dotted, value in given.items()}
    settings = msgspec.structs.replace(settings, warnings=(*warnings, *doubts(settings, written)))
    return Loaded(settings, {dotted: value.origin for dotted, value in given.items()})


# ---- the file ------------------------------------------------------------------------------------------------------


def _read(path: Path, *, required: bool) -> dict[str, Any] | None:
    """What the file holds; None when it is the default one and does not exist."""
    try:
        data = _plain_bytes(path)
    except FileNotFoundError:
        if required or path.is_symlink():
            raise ConfigError([f"{path}: there is no such file; lae-monitor config new writes one"]) from None
        return None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line} is not UTF-8"]) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError and no TOMLDecodeError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError([f"{path}: not TOML: {reason}"]) from error


def _plain_bytes(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer must not make us wait
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise ValueError("is a folder" if stat.S_ISDIR(mode) else "is no plain file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"is larger than {MAX_FILE} bytes, which no configuration is")
    return data


def _from_file(tree: Mapping[str, Any], known: Sections, source: Path, problems: list[str]) -> dict[str, Given]:
    """The values of known keys; what is not known, or is no table where one has to be, goes to `problems`."""
    given: dict[str, Given] = {}
    base = source.absolute().parent
    names = {key.dotted for key in keys(known)}

    def walk(section: str, table: Mapping[str, Any]) -> None:
        for name, value in table.items():
            dotted = f"{section}.{name}" if section else name
            if dotted in known or any(other.startswith(f"{dotted}.") for other in known):
                if isinstance(value, dict):
                    walk(dotted, value)
                else:
                    problems.append(
                        f"{source}: {dotted}: is a section, written [{dotted}]; this is {what_it_is(value)}"
                    )
            elif dotted in names:
                given[dotted] = Given(value, str(source), base)
            else:
                problems.append(f"{source}: {unknown(dotted, known)}")

    walk("", tree)
    return given


# ---- the environment -----------------------------------------------------------------------------------------------


def is_like_ours(variable: str) -> bool:
    """Whether an environment variable is ours, or looks as if it were meant to be."""
    return _bare(variable).startswith(_bare(PREFIX))


def _from_environment(
    environ: Mapping[str, str], known: Sections, problems: list[str], warnings: list[str]
) -> dict[str, Given]:
    names = {key.variable: key.dotted for key in keys(known)}
    given: dict[str, Given] = {}
    for variable, text in sorted(environ.items()):
        if variable in names:
            given[names[variable]] = Given(_toml_or_text(text), variable, Path(), text)
        elif variable.startswith(PREFIX):
            problems.append(f"{shown(variable)}: {_no_such_variable(variable, known)}")
        elif is_like_ours(variable) and variable not in OTHER_VARIABLES:
            _misspelt(variable, [*names, *OTHER_VARIABLES], problems, warnings)
    return given


def _bare(variable: str) -> str:
    return variable.upper().replace("_", "")


def _misspelt(variable: str, names: Iterable[str], problems: list[str], warnings: list[str]) -> None:
    """Refuses a variable that is nearly one of `names`. Others only get a warning: another program may set them."""
    bare = {_bare(name): name for name in names}
    if near := difflib.get_close_matches(_bare(variable), bare, n=1, cutoff=0.9):
        problems.append(f"{shown(variable)}: is not read; it is written {bare[near[0]]}")
        return
    ends = {name.removeprefix(_bare(PREFIX)): bare[name] for name in bare}
    near = difflib.get_close_matches(_bare(variable).removeprefix(_bare(PREFIX)), ends, n=1, cutoff=0.5)
    hint = f"did you mean {ends[near[0]]}?" if near else f"a key is overridden by {PREFIX}SECTION__KEY"
    warnings.append(f"{shown(variable)}: is not read; {hint}")


def _toml_or_text(text: str) -> Any:
    try:
        tree = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tree["value"] if tree.keys() == {"value"} else text  # a line break may not smuggle in a second key


def _no_such_variable(variable: str, known: Sections) -> str:
    parts = variable.removeprefix(PREFIX).lower().split("__")
    dotted = ".".join(parts)
    if dotted in known:
        first = next(iter(keys({dotted: known[dotted]})))
        return f"{dotted} is a section; name one of its keys, such as {first.variable}"
    if meant := {_bare(key.variable): key.variable for key in keys(known)}.get(_bare(variable), ""):
        return f"no such variable; it is written {meant}"
    for key in keys(known):
        if dotted.startswith(f"{key.dotted}."):
            return f"{key.dotted} is a single value; write it as TOML into {key.variable}"
    return unknown(dotted, known)


# ---- values --------------------------------------------------------------------------------------------------------


def _build(given: Mapping[str, Given], known: Sections, problems: list[str], source: Path | None) -> Settings:
    sections: dict[str, Section] = {}
    for name, kind in known.items():
        values: dict[str, Any] = {}
        for key in keys({name: kind}):
            if key.dotted in given:
                found = given[key.dotted]
                mistakes: list[str] = []
                values[key.field.name] = _value(key, found, mistakes)
                problems += [f"{found.origin}: {mistake}" for mistake in mistakes]
            elif key.field.required:
                problems.append(f"{source or DEFAULT_PATH}: {key.dotted}: has to be given: {key.form}")
        if not problems:
            sections[name] = kind(**values)
    gatherers = {name.removeprefix("gatherers."): part for name, part in sections.items() if "." in name}
    top: dict[str, Any] = {name: part for name, part in sections.items() if "." not in name}
    return Settings(**top, gatherers=gatherers, source=source)


def _value(key: Key, given: Given, problems: list[str]) -> Any:
    """What `key` is set to; with a mistake, None, and a sentence for each that begins with the key it is about."""
    if (kinds := listed_kinds(key.field.type)) and isinstance(given.value, list):
        tables = enumerate(given.value)
        return [_table(f"{key.dotted}[{number}]", kinds, given, table, problems) for number, table in tables]
    if (kinds := single_kinds(key.field.type)) and isinstance(given.value, dict):
        return _table(key.dotted, kinds, given, given.value, problems)
    if typing.get_origin(kind := unwrapped(key.field.type)[1]) is dict and isinstance(given.value, dict):
        kind = typing.get_args(kind)[1]
        entries = {name: key._replace(section=key.dotted, name=shown(name), form=form(kind)) for name in given.value}
        return {
            name: _converted(entry, kind, given._replace(value=given.value[name], text=None), problems)
            for name, entry in entries.items()
        }
    return _converted(key, key.field.type, given, problems)


def _table(name: str, kinds: Forms, given: Given, table: Any, problems: list[str]) -> Section | None:
    """The table `name`: one of `kinds`, which its `type` names."""
    tag = field_of(next(iter(kinds.values())))
    choices = ", ".join(f'"{choice}"' for choice in kinds)
    if not isinstance(table, dict):
        problems.append(
            f"{name}: wants a table, such as {{{tag} = {next(iter(kinds))!r}}}; this is {what_it_is(table)}"
        )
        return None
    chosen = table.get(tag)
    if not isinstance(chosen, str) or chosen not in kinds:
        said = f"this is {shown(chosen)!r}" if isinstance(chosen, str) else "it has to be given"
        problems.append(f"{name}.{tag}: wants one of {choices}; {said}")
        return None
    known = {name: kinds[chosen]}
    before, values = len(problems), {}
    problems += [unknown(f"{name}.{other}", known) for other in table if other not in {tag, *_names(known)}]
    for key in keys(known):
        if key.name in table:
            inner = Given(table[key.name], given.origin, given.base)
            values[key.field.name] = _value(key, inner, problems)
        elif key.field.required:
            problems.append(f"{key.dotted}: has to be given: {key.form}")
    return kinds[chosen](**values) if len(problems) == before else None


def _names(sections: Sections) -> set[str]:
    return {key.name for key in keys(sections)}


def _converted(key: Key, kind: Any, given: Given, problems: list[str]) -> Any:
    convert = partial(msgspec.convert, type=kind, dec_hook=partial(from_toml, base=given.base.absolute()))
    try:
        return convert(given.value)
    except msgspec.ValidationError as error:
        if given.text is not None and given.value != given.text:
            try:
                return convert(given.text)  # a cluster named 2024: as TOML a number, and yet text is wanted
            except msgspec.ValidationError:
                pass
        problems.append(_sentence(key, given.value, str(error)))
    except UnicodeEncodeError:  # a variable of any bytes, where no text is wanted
        problems.append(f"{key.dotted}: {given.value!a} is not text in UTF-8")
    return None


_PLACE: Final = re.compile(r" - at `(?:key in )?\$(\S*)`$")  # where in a list or table, as msgspec says it


def _sentence(key: Key, value: Any, error: str) -> str:
    """The message of msgspec in the words of an operator."""
    found = _PLACE.search(error)
    place = found[1].replace("[...]", "") if found else ""
    error = _PLACE.sub("", error)
    if error.startswith("Invalid enum value"):
        error = f"wants {key.form}; this is {shorten(value)}"
    elif error.startswith("Expected `"):
        error = f"wants {key.form}" + (f"; this is {what_it_is(value)}" if not found else "")
    return f"{key.dotted}{place}: {error}"

"""One TOML file -> typed settings. Unknown keys are errors that name the nearest known one."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lae_monitor.config.settings import SECTIONS, Section, Settings
from lae_monitor.config.values import from_text

DEFAULT_PATH: Final = Path("/etc/lae-monitor/lae-monitor.toml")
PATH_VARIABLE: Final = "LAE_MONITOR_CONFIG"
PREFIX: Final = "LAE_MONITOR__"


class ConfigError(Exception):
    """The configuration is wrong; `problems` are sentences, one a mistake. Exit code 78."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path | None, sections: Mapping[str, type[Section]], environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings.

    Args:
        path: the file; None for the default one, which may be missing.
        sections: the gatherers' own sections by their dotted name, `gatherers.crashes`.
        environ: `LAE_MONITOR__SECTION__KEY` overrides a key; the value is TOML, or else plain text.

    Raises:
        ConfigError: with every mistake found.
    """
    source = path if path is not None else DEFAULT_PATH
    tree = _read(source, required=path is not None)
    known = {**SECTIONS, **sections}
    _override(tree, environ)
    problems = list(_unknown(tree, known))
    settings: dict[str, Any] = {}
    gatherers: dict[str, Any] = {}
    for name, kind in known.items():
        table = _table(tree, name)
        try:
            built = _build(name, table, kind)
        except ConfigError as error:
            problems += error.problems
            continue
        if name.startswith("gatherers."):
            gatherers[name.removeprefix("gatherers.")] = built
        else:
            settings[name] = built
    if problems:
        raise ConfigError([f"{source}: {problem}" if tree else problem for problem in problems])
    return Settings(**settings, gatherers=gatherers, source=source if source.exists() else None)


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigError([f"{path}: there is no such file; lae-monitor config new writes one"]) from None
        return {}
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error


def _override(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        parts = variable.removeprefix(PREFIX).lower().split("__")
        table = tree
        for part in parts[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError([f"{variable}: {part} is not a table"])
            table = inner
        table[parts[-1]] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _table(tree: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        if not isinstance(tree, dict):
            break
        tree = tree.get(part, {})
    return tree


def _unknown(tree: Mapping[str, Any], known: Mapping[str, type[Section]]) -> Iterator[str]:
    """A sentence for each key that no section has."""

    def walk(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for name, value in table.items():
            dotted = f"{prefix}{name}"
            if dotted in known:
                if isinstance(value, dict):
                    fields = msgspec.structs.fields(known[dotted])
                    names = {field.encode_name for field in fields}
                    for inner in value.keys() - names:
                        yield _no_such(f"{dotted}.{inner}", inner, names)
            elif any(section.startswith(f"{dotted}.") for section in known) and isinstance(value, dict):
                yield from walk(value, f"{dotted}.")
            else:
                depth = prefix.count(".")
                level = {section.split(".")[depth] for section in known if section.startswith(prefix)}
                yield _no_such(dotted, name, level)

    yield from walk(tree, "")


def _no_such(dotted: str, name: str, names: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
    return f"{dotted}: unknown key" + (
        f', did you mean "{near[0]}"?' if near else f"; known: {', '.join(sorted(names))}"
    )


def _build(name: str, table: Any, kind: type[Section]) -> Section:
    if not isinstance(table, dict):
        raise ConfigError([f"{name}: is a table, written [{name}]"])
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            continue  # reported by _unknown
        try:
            values[fields[key].name] = msgspec.convert(value, fields[key].type, dec_hook=from_text)
        except msgspec.ValidationError as error:
            problems.append(f"{name}.{key}: {error}")
    missing = [field.encode_name for field in fields.values() if field.required and field.encode_name not in table]
    problems += [f"{name}.{key}: has to be given" for key in missing]
    if problems:
        raise ConfigError(problems)
    return kind(**values)

"""What one key means, what it is now, and why."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lae_monitor.config.describe import effective, toml
from lae_monitor.config.keys import Key, Sections, all_sections, keys, tables
from lae_monitor.config.load import Loaded
from lae_monitor.config.settings import Settings
from lae_monitor.core.kind import Kinds
from lae_monitor.core.secrets import redact


class Explained(NamedTuple):
    """A key with its value in force; `value` and `origin` are None while the configuration does not load."""

    key: Key
    value: str | None
    origin: str | None

    @property
    def default(self) -> str:
        return "follows from state.path" if self.key.default is None else toml(self.key.default)

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key.dotted,
            "description": self.key.description,
            "type": self.key.form,
            "default": None if self.key.default is None else toml(self.key.default),
            "value": self.value,
            "from": self.origin,
            "variable": self.key.variable,
        } | ({"tables": found} if (found := dict(self._tables())) else {})

    def _tables(self) -> Iterator[tuple[str, list[dict[str, str]]]]:
        """The keys of the tables that it holds, by their type."""
        for tag, keys_of_it in tables(self.key):
            yield (
                tag,
                [
                    {"key": key.name, "description": key.description, "type": key.form, "default": _default_of(key)}
                    for key in keys_of_it
                ],
            )

    def as_text(self) -> str:
        lines = [
            self.key.dotted,
            f"  {self.key.description}",
            f"  type:      {self.key.form}",
            f"  default:   {self.default}",
            f"  variable:  {self.key.variable}",
        ]
        if self.key.example is not None:
            lines.append(f"  such as:   {toml(self.key.example)}")
        for tag, keys_of_it in tables(self.key):
            lines.append(f'  with type = "{tag}":')
            lines += [f"    {key.name:<22} {key.description} ({_default_of(key)}; {key.form})" for key in keys_of_it]
        if self.value is not None:
            lines.append(f"  now:       {self.value}   (from {self.origin})")
        return "\n".join(lines)


def _default_of(key: Key) -> str:
    if key.field.required:
        return "has to be given"
    return "none by default" if key.default is None else f"default {toml(key.default)}"


def explain(about: str, kinds: Kinds, loaded: Loaded | None) -> list[Explained]:
    """The key `about`, or all keys of the section `about`, or all there are for "".

    Args:
        about: a dotted name.
        kinds: those whose sections there are.
        loaded: what was read, or None when that failed.

    Raises:
        KeyError: there is no such key or section.
    """
    chosen = [
        key
        for key in keys(all_sections(kinds))
        if not about or key.dotted == about or key.dotted.startswith(f"{about}.")
    ]
    if not chosen:
        raise KeyError(about)
    if loaded is None:
        return [Explained(key, None, None) for key in chosen]
    values = dict(effective(loaded.settings))
    return [
        Explained(key, redact(toml(values[key.dotted])), loaded.origins.get(key.dotted, "the default"))
        for key in chosen
    ]


# A configuration file to begin with: every key there is, with its meaning and its default, all commented out.
#
# What is commented out follows the defaults of later releases; what an operator wrote down stays.
WIDTH = 100

_HEAD = """\
# The configuration of lae-monitor: TOML, https://toml.io
#
# Every key is here, with its default behind "#". Take the "#" away to change one; leave the others as they are.
# An environment variable overrides a key: LAE_MONITOR__WEB__LISTEN=127.0.0.1:9000 is web.listen.
# Secrets are not kept here, but in files of their own below credentials/ in the state folder.
#
# After a change:      lae-monitor check config
# What a key means:    lae-monitor config explain KEY
"""


def new(kinds: Kinds) -> str:
    """The text of the file. Loading it gives the defaults, with and without the "#" before its keys.

    Args:
        kinds: those whose sections there are.
    """
    defaults = dict(effective(Settings()))
    return _HEAD + "".join(_section(name, {name: kind}, defaults) for name, kind in all_sections(kinds).items())


def _section(name: str, section: Sections, defaults: Mapping[str, Any]) -> str:
    lines = ["", *_comment(section[name].__doc__ or ""), f"[{name}]"]
    for key in keys(section):
        lines += ["", *_comment(key.description)]
        if key.example is not None:
            lines += _comment(f"such as: {toml(key.example)}")
        lines.append(f"#{key.name} = {toml(defaults.get(key.dotted) if key.default is None else key.default)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), WIDTH):
        yield f"# {line}"

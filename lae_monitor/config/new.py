"""A configuration file to begin with: every key there is, with its meaning and its default, all commented out.

What is commented out follows the defaults of later releases; what an operator wrote down stays.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from lae_monitor.config.describe import effective
from lae_monitor.config.keys import Sections, all_sections, keys
from lae_monitor.config.settings import Settings
from lae_monitor.config.written import toml
from lae_monitor.core.kind import Kinds

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

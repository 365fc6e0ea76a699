"""What a table of the configuration is made of: typed keys, each with what it means."""

from typing import Any

import msgspec


def key(description: str, *, example: Any = None) -> msgspec.Meta:
    """What a key means, for people.

    Args:
        example: a value to show where the default shows nothing; as TOML would give it.
    """
    return msgspec.Meta(description=description, examples=None if example is None else [example])


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. Every key has a default, except where the description says that it has to be given."""

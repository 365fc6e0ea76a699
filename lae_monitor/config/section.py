"""What a table of the configuration is made of: typed keys, each with what it means."""

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union

import msgspec


def key(description: str, *, example: Any = None) -> msgspec.Meta:
    """What a key means, for people.

    Args:
        example: a value to show where the default shows nothing; as TOML would give it.
    """
    return msgspec.Meta(description=description, examples=None if example is None else [example])


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. Every key has a default, except where the description says that it has to be given."""


# Arrays of tables whose `type` says which keys they have: [[gatherers.crashes.crashmover.destinations]] and the like.
#
# Each table is read as a section is, so that every mistake in it has its dotted name: `destinations[0].bucket`.
Forms = dict[str, type[Section]]  # by what their `type` says


def listed_kinds(kind: Any) -> Forms:
    """The tables that an array of the type `kind` may hold; none when it is no such array."""
    kind = _plain(kind)
    return single_kinds(typing.get_args(kind)[0]) if typing.get_origin(kind) is list else {}


def single_kinds(kind: Any) -> Forms:
    """The tables of which one may stand where the type `kind` is wanted; none when it is no table."""
    kind = _plain(kind)
    of_union = typing.get_origin(kind) in {Union, types.UnionType}
    arguments = [part for part in typing.get_args(kind) if part is not type(None)] if of_union else [kind]
    kinds = {tag_of(part): part for part in arguments if _is_table(part)}
    return kinds if len(kinds) == len(arguments) else {}


def _plain(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section) and kind.__struct_config__.tag is not None


def tag_of(kind: Any) -> str:
    """What `type` says of a table of that kind."""
    return str(kind.__struct_config__.tag)


def field_of(kind: type[Section]) -> str:
    """The key that says which kind of table it is."""
    return str(kind.__struct_config__.tag_field)


def as_table(value: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """A table's keys as somebody would write them: its type, and what is no default."""
    config = value.__struct_config__
    if config.tag is not None:
        yield str(config.tag_field), config.tag
    for field in msgspec.structs.fields(value):
        found = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if found is not None and (default is msgspec.NODEFAULT or found != default):
            yield field.encode_name, found

"""Every key there is: its dotted name, its type in words, its default, what it means, and the variable that overrides it."""

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, NamedTuple, Union

import msgspec

from lae_monitor.config.section import Section, listed_kinds, single_kinds
from lae_monitor.config.settings import SECTIONS, retention
from lae_monitor.config.values import FORMS
from lae_monitor.core.kind import Kinds
from lae_monitor.core.refusals import shorten

PREFIX: Final = "LAE_MONITOR__"  # of the variables that override a key
Sections = Mapping[str, type[Section]]  # by their dotted name


class Key(NamedTuple):
    """One key of the configuration. `default` is None where it follows from other keys; `example` then shows one."""

    section: str
    name: str
    field: msgspec.structs.FieldInfo
    form: str
    default: Any
    example: Any
    description: str

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return PREFIX + self.dotted.upper().replace(".", "__")


def all_sections(kinds: Kinds) -> dict[str, type[Section]]:
    """The sections that every process knows, with a key of `[retention]` for each kind, and those of the kinds."""
    found = {**SECTIONS, "retention": retention(kinds)}
    for kind in kinds:
        found[f"gatherers.{kind.name}"] = kind.part("config:Settings")
        for name in kind.sections:
            found[f"gatherers.{kind.name}.{name}"] = kind.part(f"{name}.config:Settings")
    return found


def keys(sections: Sections) -> Iterator[Key]:
    """The keys of `sections`, in their order."""
    for section, kind in sections.items():
        for field in msgspec.structs.fields(kind):
            meta, wanted = unwrapped(field.type)
            yield Key(
                section,
                field.encode_name,
                field,
                form(wanted, meta),
                field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default,
                (meta.examples or [None])[0],
                meta.description or "",
            )


def unwrapped(kind: Any) -> tuple[msgspec.Meta, Any]:
    if typing.get_origin(kind) is Annotated:
        inner, *metas = typing.get_args(kind)
        return next((meta for meta in metas if isinstance(meta, msgspec.Meta)), msgspec.Meta()), inner
    return msgspec.Meta(), kind


def form(kind: Any, meta: msgspec.Meta | None = None) -> str:
    """A type in words: what may stand to the right of the equals sign."""
    if kind in FORMS:
        return FORMS[kind] + ("" if meta is None or meta.ge is None else _range(meta))
    if kinds := listed_kinds(kind) or single_kinds(kind):
        what = "a list of tables, each" if listed_kinds(kind) else "a table"
        return f"{what} with type = {_choices(kinds)}"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {Union, types.UnionType}:
        return " or ".join(form(inner) for inner in arguments if inner is not type(None))
    if origin in {list, tuple}:
        return f"a list, each {form(arguments[0])}"
    if origin is dict:
        return f"a table, each value {form(arguments[1])}"
    return "one of " + ", ".join(f'"{choice}"' for choice in arguments) if origin is typing.Literal else str(kind)


def _range(meta: msgspec.Meta) -> str:
    return f", at least {meta.ge}" if meta.le is None else f", {meta.ge} to {meta.le}"


def _choices(names: Iterable[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


def tables(key: Key) -> Iterator[tuple[str, list[Key]]]:
    """Of a key that holds tables: what their `type` may say, and the keys that each of them then has."""
    for tag, kind in listed_kinds(key.field.type).items():
        yield tag, list(keys({f"{key.dotted}[]": kind}))


def unknown(dotted: str, sections: Sections) -> str:
    """What to say of a key or section that does not exist: the nearest that does, or those that there are."""
    section, _, name = dotted.rpartition(".")
    return f"{shown(dotted)}: unknown key, {_hint(name, sections, section if _below(section, sections) else '')}"


def shown(name: str) -> str:
    """`name` as it may go to a terminal."""
    return name if name.isprintable() and len(name) < 100 else shorten(name)


def _hint(name: str, sections: Sections, section: str) -> str:
    siblings = sorted(_below(section, sections))
    everything = [*sections, *(key.dotted for key in keys(sections))]
    elsewhere = [dotted for dotted in everything if dotted.rpartition(".")[2] == name]
    if near := difflib.get_close_matches(name, siblings, n=1, cutoff=0.75):
        return f'did you mean "{near[0]}"?'
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    if near := difflib.get_close_matches(name, siblings, n=1, cutoff=0.5):
        return f'did you mean "{near[0]}"?'
    if not section and (near := difflib.get_close_matches(name, everything, n=1, cutoff=0.5)):
        return f'did you mean "{near[0]}"?'
    return f"known: {', '.join(siblings)}"


def _below(section: str, sections: Sections) -> set[str]:
    """The keys and the sections that stand directly in `section`; the top ones for an empty name."""
    prefix = f"{section}." if section else ""
    inner = {dotted[len(prefix) :].partition(".")[0] for dotted in sections if dotted.startswith(prefix)}
    own = {field.encode_name for field in msgspec.structs.fields(sections[section])} if section in sections else set()
    return inner | own

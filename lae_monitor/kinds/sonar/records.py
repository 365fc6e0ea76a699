"""One line of `sonar ps`, of any version since 0.6, -> one sample, or the reason why it is none.

The rules are those of sonalyze: an unknown field is ignored, a field without `=` is dropped, and a record with a bad,
infinite or negative number, or without one of `v`, `time`, `host`, `cmd` and `user`, is no record. Source of the format:
docs/sonar.md#free-csv.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

from lae_monitor.core.names import ClusterName, HostName, row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.sonar.free_csv import split_fields
from lae_monitor.kinds.sonar.rows import Sample

HEARTBEAT: Final = "_heartbeat_"
HEARTBEAT_USER: Final = "_sonar_"
MAX_WHOLE: Final = 2**63 - 1  # what a column of whole numbers holds
MAX_CARD: Final = 1023  # the highest number of a GPU; a node has at most 16
MAX_TIME: Final = 64  # characters; a longer time is none, and would fill the memory of those seen
MEMO: Final = 4096  # values that are remembered: times, hosts and GPUs repeat from line to line

_REAL: Final = re.compile(r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?", re.ASCII)
_CARDS: Final = re.compile(r"[0-9]{1,4}(?:,[0-9]{1,4}){0,63}", re.ASCII)
_MASK: Final = re.compile(r"[01]{1,32}", re.ASCII)


def _real(text: str) -> float:
    plain = text.isascii() and text.replace(".", "", 1).isdecimal()  # nearly always, and faster than the pattern
    if not (plain or _REAL.fullmatch(text)) or not isfinite(value := float(text)):
        raise ValueError("not a number from 0 up")
    return value


def _whole(text: str) -> int:
    value = int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else int(_real(text))
    if value > MAX_WHOLE:
        raise ValueError("too large a number")
    return value


@lru_cache(MEMO)
def _cards(text: str) -> str:
    """`3,1,2,0` -> `0,1,2,3`; `none` and `unknown` stay."""
    if text in {"none", "unknown"}:
        return text
    cards = {int(card) for card in text.split(",")} if _CARDS.fullmatch(text) else set()
    if not cards or max(cards) > MAX_CARD:
        raise ValueError("not a list of GPUs")
    return ",".join(map(str, sorted(cards)))


@lru_cache(MEMO)
def _cards_of_mask(text: str) -> str:
    """The GPUs of a bit mask of version 0.6: `1101` -> `0,2,3`."""
    if not _MASK.fullmatch(text):
        raise ValueError("not a bit mask of GPUs")
    mask = int(text, 2)
    if mask == 2**32 - 1:
        return "unknown"
    return ",".join(str(card) for card in range(32) if mask >> card & 1) or "none"


@lru_cache(MEMO)
def _time(text: str) -> float:
    if len(text) > MAX_TIME:
        raise Refused("bad_time", raw=text)
    return parse_time(text)


_host: Final = lru_cache(MEMO)(HostName)

# What is measured: Sonar's name -> ours, and how it is read. Memory of the node is checked like the others, and not kept.
_MEASURES: Final[Mapping[str, tuple[str, Callable[[str], int | float | str]]]] = {
    "cores": ("cores", _whole),
    "memtotalkib": ("", _whole),
    "job": ("job", _whole),
    "epoch": ("epoch", _whole),
    "pid": ("pid", _whole),
    "ppid": ("ppid", _whole),
    "cpu%": ("cpu_avg", _real),
    "cpukib": ("virtual_kib", _whole),
    "rssanonkib": ("resident_kib", _whole),
    "gpus": ("gpus", _cards),
    "gpu%": ("gpu_util", _real),
    "gpumem%": ("gpumem_util", _real),
    "gpukib": ("gpu_kib", _whole),
    "gpufail": ("gpu_fail", _whole),
    "cputime_sec": ("cpu_time", _real),
    "rolledup": ("rolledup", _whole),
    "threads": ("threads", _whole),
}

# Version 0.6 wrote no names; the first 8 have to be there.
_UNNAMED: Final = (
    "time", "host", "cores", "user", "job", "cmd", "cpu%", "cpukib", "gpus", "gpu%", "gpumem%", "gpukib",
)  # fmt: skip
_UNNAMED_NEEDED: Final = 8


class Place(NamedTuple):
    """What the path of a file says about the lines in it."""

    file: str
    cluster: ClusterName
    host: str  # for a record that names no host that could be one


def parse(line: bytes, place: Place, offset: int, length: int) -> Sample:
    """The sample that `line`, without its newline, is; `offset` and `length` say where it lies.

    Raises:
        Refused: `unreadable`, and why.
    """
    try:
        text = exact = line.decode()
    except UnicodeDecodeError:
        text, exact = line.decode("utf-8", "replace"), line.decode("utf-8", "surrogateescape")
    try:
        fields = _fields(text.removesuffix("\r"))
        cmd = _required(fields, "cmd")
        heartbeat = cmd == HEARTBEAT
        return Sample(
            cluster=place.cluster,
            host=_host_or(_required(fields, "host"), place.host),
            time=_time(_required(fields, "time")),
            key=row_key(place.cluster, exact.removesuffix("\r")),
            user=HEARTBEAT_USER if heartbeat and not fields.get("user") else _required(fields, "user"),
            cmd=cmd,
            version=_required(fields, "v"),
            heartbeat=heartbeat,
            file=place.file,
            offset=offset,
            length=length,
            **_measured(fields),
        )
    except Refused as refused:
        raise Refused("unreadable", refused.detail or refused.reason.text) from None


def _fields(text: str) -> dict[str, str]:
    """Sonar's names and values, those of version 0.6 included."""
    fields = split_fields(text)
    try:
        return dict([field.split("=", 1) for field in fields])
    except ValueError:
        pass
    if len(fields) >= _UNNAMED_NEEDED and "=" not in fields[0] and "=" not in fields[1]:
        return _named(dict(zip(_UNNAMED, fields, strict=False)))
    named = dict([field.split("=", 1) for field in fields if "=" in field])
    if not named:
        raise Refused("unreadable", f"no name=value, and not the {_UNNAMED_NEEDED} fields of version 0.6")
    return named


def _named(unnamed: dict[str, str]) -> dict[str, str]:
    """A record of version 0.6 as later ones would have written it."""
    mask = unnamed.get("gpus", "0")
    try:
        return unnamed | {"v": "0.6.0", "gpus": _cards_of_mask(mask)}
    except ValueError as error:
        raise Refused("unreadable", f"gpus: {error}:", raw=mask) from None


def _required(fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise Refused("unreadable", f"no {name}")
    return value


def _host_or(host: str, fallback: str) -> str:
    try:
        return _host(host)
    except Refused:
        return _host(fallback)


def _measured(fields: dict[str, str]) -> dict[str, Any]:
    """What the record measured, by our names."""
    values: dict[str, Any] = {"gpus": "none"}
    name = ""
    try:
        for name, text in fields.items():
            measure = _MEASURES.get(name)
            if measure is not None:
                ours, convert = measure
                values[ours] = convert(text)
    except ValueError as error:
        raise Refused("unreadable", f"{name}: {error}:", raw=fields[name]) from None
    values.pop("", None)
    return values

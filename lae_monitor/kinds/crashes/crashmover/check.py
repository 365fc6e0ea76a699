"""What the crashmover asks of its section of the configuration, a sentence each, with the key first."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from lae_monitor.config import Listen
from lae_monitor.config import Settings as AllSettings
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.posting import check_target, check_url

SECTION: Final = "gatherers.crashes.crashmover"
_OF_THE_FIRST: Final[dict[str, object]] = {
    "name": "", "only": "all", "products": [], "from_day": "", "until_day": "", "publish": "",
}  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_SUFFIX: Final = re.compile(r"[A-Za-z0-9._-]{1,30}", re.ASCII)
_DAY: Final = re.compile(r"20[0-9]{6}", re.ASCII)
_UMASK: Final = re.compile(r"0?[0-7]{3}", re.ASCII)


def check(settings: AllSettings) -> Iterator[str]:
    """What is wrong."""
    own: config.Settings | None = settings.gatherers.get("crashes.crashmover")
    if own is None:
        return
    seen: set[str] = set()
    for number, destination in enumerate(own.destinations):
        key = f"{SECTION}.destinations[{number}]"
        yield from _destination(key, destination)
        if destination.title in seen:
            yield f"{key}.name: {destination.title!r} is the name of another one; each needs its own"
        seen.add(destination.title)
    yield from _folders(own)
    yield from _listen(settings, own.metrics_listen)


def _folders(own: config.Settings) -> Iterator[str]:
    """Two that write into one folder would find each other's files there."""
    seen: dict[Path, str] = {}
    for number, first in enumerate(own.destinations):
        key = f"destinations[{number}]"
        destination: config.AnyDestination | None = first
        while destination is not None:
            name = "folder" if isinstance(destination, config.Tar) else "fs_root"
            if isinstance(destination, config.Antenna | config.Socorro | config.Tar):
                folder = Path(getattr(destination, name)).resolve()
                if folder in seen:
                    yield f"{SECTION}.{key}.{name}: is that of {seen[folder]}; each needs its own"
                seen.setdefault(folder, key)
            key, destination = f"{key}.fallback", destination.fallback


def _listen(settings: AllSettings, text: str) -> Iterator[str]:
    if not text:
        return
    key = f"{SECTION}.metrics_listen"
    try:
        wanted = Listen.parse(text)
    except ValueError as error:
        yield f"{key}: {error}"
        return
    others: list[tuple[str, object]] = [("web.listen", settings.web.listen)]
    others += [(f"gatherers.{kind}.listen", getattr(own, "listen", None)) for kind, own in settings.gatherers.items()]
    for name, other in others:
        if isinstance(other, Listen) and wanted.port and wanted.port == other.port:
            yield f"{key}: port {wanted.port} is that of {name} too; each needs one of its own"


def _destination(key: str, own: config.Destination) -> Iterator[str]:
    if not _NAME.fullmatch(own.title):
        yield f"{key}.name: wants letters, digits, dots, dashes and underscores, at most 64"
    yield from _days(key, own)
    if own.publish:
        try:
            check_target(own.publish)
        except ValueError as error:
            yield f"{key}.publish: {error}"
    for field in own.redact:
        if not field.strip("."):
            yield f"{key}.redact: {field!r} names no annotation"
    yield from _kind(key, own)
    if own.fallback is not None:
        yield from _fallback(f"{key}.fallback", own.fallback)


def _fallback(key: str, own: config.Destination) -> Iterator[str]:
    for name, default in _OF_THE_FIRST.items():
        if getattr(own, name) != default:
            yield f"{key}.{name}: counts only where no other destination comes first; set it there"
    yield from _destination(key, own)


def _days(key: str, own: config.Destination) -> Iterator[str]:
    for name in ("from_day", "until_day"):
        if (day := getattr(own, name)) and not _is_day(day):
            yield f"{key}.{name}: {day!r} is no day such as 20261122"
    if own.until_day and own.from_day > own.until_day:
        yield f"{key}.until_day: is before from_day, so no crash goes there"


def _kind(key: str, own: config.Destination) -> Iterator[str]:
    """What is asked of one type."""
    if isinstance(own, config.Antenna | config.Socorro | config.Tar) and not _UMASK.fullmatch(own.umask):
        yield f"{key}.umask: {own.umask!r} is no octal mask such as 027"
    if isinstance(own, config.Socorro):
        yield from _socorro(key, own)
    if isinstance(own, config.S3):
        if not own.bucket:
            yield f"{key}.bucket: names no bucket"
        if own.endpoint_url:
            yield from _url(f"{key}.endpoint_url", own.endpoint_url)
    if isinstance(own, config.Http):
        yield from _url(f"{key}.url", own.url)


def _socorro(key: str, own: config.Socorro) -> Iterator[str]:
    for name, form in (
        ("name_branch_base", _PART),
        ("date_branch_base", _PART),
        ("json_file_suffix", _SUFFIX),
        ("dump_file_suffix", _SUFFIX),
        ("dump_field", _PART),
    ):
        if not form.fullmatch(getattr(own, name)):
            yield f"{key}.{name}: wants letters, digits, dots, dashes and underscores"
    if own.name_branch_base == own.date_branch_base:
        yield f"{key}.date_branch_base: is the same folder as name_branch_base"
    if own.json_file_suffix == own.dump_file_suffix:
        yield f"{key}.dump_file_suffix: is json_file_suffix too; a dump and the raw crash would have one name"


def _url(key: str, url: str) -> Iterator[str]:
    try:
        check_url(url)
    except ValueError as error:
        yield f"{key}: {error}"


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007 - only whether there is such a day
    except ValueError:
        return False
    return True

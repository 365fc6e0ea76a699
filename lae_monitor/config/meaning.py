"""What the settings say together: values that are right each by itself, and cannot be meant all at once."""

import ipaddress
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.errors import HeaderParseError
from email.headerregistry import Address as MailAddress
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from lae_monitor.config.describe import effective
from lae_monitor.config.section import Section
from lae_monitor.config.settings import Alerts, AnyDestination, Mail, Settings
from lae_monitor.config.values import Duration, Kept, Listen, Size, is_bare
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.time import DAY, format_duration

_DESTINATIONS: Final = "alerts.destinations"
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_LOCAL: Final = ("localhost:", "127.", "[::1]:")
_FOOLSCAP: Final = re.compile(r"tcp:([0-9]{1,5})(?::interface=(.+))?")


class Address(NamedTuple):
    """Where a process listens; port 0 is any free one. `is_tub`: for Foolscap, not HTTP."""

    key: str
    process: str
    host: str
    port: int
    is_tub: bool = False


def contradictions(settings: Settings, origins: Mapping[str, str]) -> Iterator[str]:
    """A sentence each, which begins with where the key was set.

    Args:
        settings: values that were understood.
        origins: where they came from, by dotted key; defaults are absent.
    """
    for key, sentence in (
        *_web(settings),
        *_folders(settings),
        *_addresses(settings),
        *_alerts(settings.alerts),
    ):
        yield f"{origins[key]}: {key}: {sentence}" if key in origins else f"{key}: {sentence}"


def doubts(settings: Settings, written: Mapping[str, Any]) -> Iterator[str]:
    """What is legal, and perhaps not meant: a sentence each, which begins with the key.

    Args:
        written: what was given, by dotted key, as TOML has it.
    """
    for dotted, value in effective(settings):
        if dotted in written:
            yield from _without_unit(dotted, written[dotted], value)
        named = {f"{dotted}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {dotted: value}
        for key, kept in named.items():
            if isinstance(kept, Kept) and kept < DAY:
                yield f"{key}: {format_duration(kept)} is less than a day: what comes is removed by the next daily run"


def _without_unit(key: str, written: Any, value: Any) -> Iterator[str]:
    """The sizes and durations in `value` that were written without a unit."""
    if isinstance(value, Size | Duration):
        if is_bare(written):
            unit = " B" if isinstance(value, Size) else "s"
            number = str(written).strip()[:80]
            yield f'{key}: {number} has no unit, and is read as "{number}{unit}": write it so, a later release refuses it'
    elif isinstance(value, Section) and isinstance(written, dict):
        for field in msgspec.structs.fields(value):
            if field.encode_name in written:
                name = f"{key}.{field.encode_name}"
                yield from _without_unit(name, written[field.encode_name], getattr(value, field.name))
    elif isinstance(value, dict) and isinstance(written, dict):
        for name, inner in written.items():
            yield from _without_unit(f"{key}.{name}", inner, value.get(name))
    elif isinstance(value, list | tuple) and isinstance(written, list):
        for index, (before, after) in enumerate(zip(written, value, strict=False)):
            yield from _without_unit(f"{key}[{index}]", before, after)


def addresses(settings: Settings) -> Iterator[Address]:
    """All addresses that our processes listen on."""
    yield Address("web.listen", "serve", settings.web.listen.host, settings.web.listen.port)
    for kind, own in settings.gatherers.items():
        if http := getattr(own, "http", ""):
            with suppress(ValueError):  # what is no address is told by the kind's own check
                operations = Listen.parse(http)
                yield Address(f"gatherers.{kind}.http", f"gather-{kind}", operations.host, operations.port)
        listen = getattr(own, "listen", None)
        if isinstance(listen, Listen):
            yield Address(f"gatherers.{kind}.listen", f"gather-{kind}", listen.host, listen.port)
        elif isinstance(listen, str) and (found := _FOOLSCAP.fullmatch(listen)) and int(found[1]) <= 65535:
            host = (found[2] or "0.0.0.0").replace("\\:", ":")  # noqa: S104 - what Foolscap takes it for
            yield Address(f"gatherers.{kind}.listen", f"gather-{kind}", host, int(found[1]), is_tub=True)


def _web(settings: Settings) -> Iterator[tuple[str, str]]:
    listen = settings.web.listen
    if not listen.is_loopback:
        yield (
            "web.listen",
            f"{listen} can be reached from other hosts, and pages are for this one only; "
            "listen on 127.0.0.1, and reach it through ssh -L 8642:127.0.0.1:8642",
        )


def _folders(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.archive.roots == []:
        yield "archive.roots", "names no folder; leave the key out for archive/ in the state folder"
    roots = [_plain(root) for root in settings.archive_roots]
    state, store = _plain(settings.state.path), _plain(settings.store_path)
    for number, root in enumerate(roots):
        for other in roots[:number]:
            if root == other:
                yield "archive.roots", f"{root} is there twice"
            elif _is_inside(root, other) or _is_inside(other, root):
                yield "archive.roots", f"of {other} and {root}, one lies in the other"
        if _is_inside(state, root):
            yield "archive.roots", f"{root} holds the state folder {state}; a root holds nothing but the archive"
        elif _is_inside(store, root) or _is_inside(root, store):
            yield "archive.roots", f"of {root} and the store's folder {store}, one lies in the other"
    if "?" in str(store):
        yield "state.path", f"{store}: the engine of the store can have no question mark in its folder's name"


def _plain(path: Path) -> Path:
    """`path` without `..`; links are not followed, for that could wait for a network mount."""
    return Path(os.path.normpath(path))


def _is_inside(inner: Path, outer: Path) -> bool:
    return inner.is_relative_to(outer)


def _addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    seen: list[Address] = []
    for address in addresses(settings):
        for other in seen:
            if address.port and address.port == other.port and _overlap(address.host, other.host):
                yield address.key, f"port {address.port} is that of {other.key} too; each needs one of its own"
        seen.append(address)


def _overlap(one: str, other: str) -> bool:
    return one == other or _is_everything(one) or _is_everything(other)


def _is_everything(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _alerts(alerts: Alerts) -> Iterator[tuple[str, str]]:
    for name in alerts.expected:
        cluster, slash, host = name.rpartition("/")
        try:
            HostName(host)
            if slash:
                ClusterName(cluster)
        except Refused:
            yield "alerts.expected", f"{shorten(name)} is neither HOST nor CLUSTER/HOST"
    if alerts.pages_url and not _is_url(alerts.pages_url):
        yield "alerts.pages_url", f"{shorten(alerts.pages_url)} is no address such as https://monitor.example"
    names = Counter(destination.title for destination in alerts.destinations)
    for number, destination in enumerate(alerts.destinations):
        if names[destination.title] > 1:
            yield _DESTINATIONS, f"two are called {shorten(destination.title)}; give each a name of its own"
        for key, sentence in _of_one(destination):
            yield f"{_DESTINATIONS}[{number}].{key}", sentence


def _of_one(destination: AnyDestination) -> Iterator[tuple[str, str]]:
    try:
        HostName(destination.title)
    except Refused:
        yield "name", f"{shorten(destination.title)}: wants letters, digits, dots, dashes and underscores"
    if not isinstance(destination, Mail):
        if destination.url and not _is_url(destination.url):
            yield "url", "is no address such as https://hooks.example/alarms"
        return
    if not destination.to:
        yield "to", "names nobody"
    for key, address in [*(("to", address) for address in destination.to), ("sender", destination.sender)]:
        if not _is_mail_address(address) and (address or key == "to"):
            yield key, f"{shorten(address)} is no mail address such as ops@example.org"
    found = _SERVER.fullmatch(destination.server)
    if found is None or not 0 < int(found[2]) < 65536:
        yield "server", f'{shorten(destination.server)} is not HOST:PORT, such as "mail.example.org:587"'
    if destination.user and destination.security == "none" and not destination.server.startswith(_LOCAL):
        yield "security", 'the password would cross the network for all to read; use "starttls" or "tls"'


def _is_mail_address(text: str) -> bool:
    try:
        found = MailAddress(addr_spec=text)
    except (HeaderParseError, ValueError, IndexError):
        return False
    return bool(found.username and found.domain) and text.isprintable()


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:
        return False

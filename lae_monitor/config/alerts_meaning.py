"""What the keys of [alerts] say together, and what of them has a form that their types do not show."""

import re
from collections import Counter
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Final
from urllib.parse import urlsplit

from lae_monitor.config.alerts import Alerts, AnyDestination, Mail
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused, shorten

KEY: Final = "alerts.destinations"
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def mistakes(alerts: Alerts) -> Iterator[tuple[str, str]]:
    """Keys, each with a sentence of what is wrong."""
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
            yield KEY, f"two are called {shorten(destination.title)}; give each a name of its own"
        for key, sentence in _of_one(destination):
            yield f"{KEY}[{number}].{key}", sentence


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


_LOCAL: Final = ("localhost:", "127.", "[::1]:")


def _is_mail_address(text: str) -> bool:
    try:
        found = Address(addr_spec=text)
    except (HeaderParseError, ValueError, IndexError):
        return False
    return bool(found.username and found.domain) and text.isprintable()


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:
        return False

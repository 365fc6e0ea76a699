"""What `lae-monitor check config` asks of the Sonar gatherer; what keeps it from starting is asked at its start, too."""

import stat
from collections.abc import Iterator

from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.sonar.tokens import auth_file, passwords_in
from lae_monitor.net.http import parse_networks
from lae_monitor.net.passwords import CredentialsError


def fatal(settings: Settings) -> Iterator[str]:
    """What keeps the gatherer from starting, a sentence each."""
    own = settings.gatherers["sonar"]
    path = auth_file(settings)
    if path is None:
        if not own.listen.is_loopback:
            yield (
                f'gatherers.sonar.auth_file = "" lets anybody send, and {own.listen} is no loopback address; '
                "name a password file, or listen on 127.0.0.1"
            )
    else:
        try:
            passwords_in(path).refresh()
        except CredentialsError as error:
            yield f"gatherers.sonar.auth_file: {error}"
    try:
        parse_networks(own.trusted_proxies)
    except ValueError as error:
        yield f"gatherers.sonar.trusted_proxies: {error}"


def check(settings: Settings) -> Iterator[str]:
    """What is wrong, or will be, a sentence each."""
    problems = list(fatal(settings))
    yield from problems
    path = auth_file(settings)
    if path is None or problems:
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield f"gatherers.sonar.auth_file: {path} can be read by others than its owner; chmod it to 600"
    passwords = passwords_in(path)
    passwords.refresh()
    if settings.gatherers["sonar"].match_user_and_cluster:
        for user in passwords.users:
            try:
                ClusterName(user)
            except Refused:
                yield f"gatherers.sonar.auth_file: {path}: {user!r} cannot be a cluster's name, so it can never send"

"""Who may send for which cluster: passwords in `credentials/sonar/<gatherers.sonar.auth_file>`."""

from pathlib import Path
from typing import Any, Final

from lae_monitor.config import Settings
from lae_monitor.core.kind import Option, Tokens
from lae_monitor.core.names import ClusterName
from lae_monitor.net.passwords import Passwords

_IF_MISSING: Final = (
    "lae-monitor token new sonar makes it, or write lines of the form CLUSTER:PASSWORD into it and chmod it to 600, or set "
    'gatherers.sonar.auth_file = "" to let anybody on this host send'
)


def auth_file(settings: Settings) -> Path | None:
    """The password file; None when anybody may send."""
    name = settings.gatherers["sonar"].auth_file
    return settings.credentials / "sonar" / name if name else None


def passwords_in(path: Path) -> Passwords:
    """The passwords of the clusters; a missing file lets nobody in and says what to do."""
    return Passwords(path, if_missing=_IF_MISSING)


class _Clusters(Tokens):
    whose = "cluster"
    called = "password of the cluster"
    options = (Option("--cluster", "the cluster that may send with it; default: fleet.name.", "CLUSTER"),)
    if_none = "samples are refused"
    not_asked = (
        'gatherers.sonar.auth_file is "": anybody on this host may send, and no password is asked for',
        "set gatherers.sonar.auth_file, such as to exfil-auth.txt",
    )

    def file(self, settings: Settings) -> Path | None:
        return auth_file(settings)

    def user(self, settings: Settings, given: dict[str, Any]) -> str:
        return str(settings.fleet.name if given["cluster"] is None else ClusterName(given["cluster"]))

    def following(self, user: str) -> str:
        return (
            f"on the nodes of {user}, write {user}:PASSWORD into the file that sonar's curl is given with --config "
            "or --user; no restart is needed here"
        )

    def left_without(self, _settings: Settings, user: str) -> str:
        return f"has no password left: it can send nothing\nNext: lae-monitor token new sonar --cluster {user}"


TOKENS: Final = _Clusters()

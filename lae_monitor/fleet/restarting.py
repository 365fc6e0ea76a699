"""How the nodes of a host are restarted: by a given command, else the account's `restart.sh`, else their units."""

import shlex
import stat
from collections.abc import Sequence
from typing import Final

from lae_monitor.core.secrets import redact
from lae_monitor.fleet.remote import Remote
from lae_monitor.fleet.remote_sudo import Ran
from lae_monitor.fleet.trouble import Trouble

SCRIPT: Final = "~/restart.sh"
RESTART_WITHIN: Final = 180.0  # seconds; nodes that stop slowly are part of it
_EXECUTABLE: Final = 0o111


def how(remote: Remote, given: str, nodes: Sequence[str]) -> str:
    """The line of shell that restarts `nodes`, which are names such as `storageserver`.

    Raises:
        Trouble: `no_restart`.
    """
    if given:
        return given
    script = remote.status(remote.path(SCRIPT))
    if script is not None and stat.S_ISREG(script.st_mode) and script.st_mode & _EXECUTABLE:
        return SCRIPT
    units = [f"tahoe@{node}.service" for node in nodes]
    # No redirections: csh has other ones.
    missing = [unit for unit in units if remote.run(f"systemctl cat -- {shlex.quote(unit)}").status]
    if missing or not units:
        raise Trouble(
            "no_restart",
            f"there is neither an executable {SCRIPT} nor a unit {(missing or ['tahoe@...'])[0]}: nothing was changed",
            "say how its nodes are restarted with --restart, or leave that to you with --no-restart",
        )
    # What the account's shell prints at its start stands above.
    become = "" if remote.run("id -u").output.split()[-1:] == ["0"] else "sudo -n "
    return f"{become}systemctl restart -- {' '.join(map(shlex.quote, units))}"


def restart(remote: Remote, command: str) -> Ran:
    """Runs it. What it says may hold a secret, and is redacted.

    Raises:
        Trouble
    """
    ran = remote.run(command, within=RESTART_WITHIN)
    return Ran(ran.status, redact(ran.output))

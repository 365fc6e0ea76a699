"""For programs that were written for LeastAuthority's functions of these names, and for a quick call by hand:

    python -m lae_monitor.fleet.setremoteconfigoption HOST PATH SECTION OPTION < FILE_WITH_THE_VALUE

Unlike theirs: comments stay, an equal value writes and restarts nothing, and what fails raises.
"""

import sys
from pathlib import Path
from typing import Final, TextIO

from lae_monitor.fleet.access import Access
from lae_monitor.fleet.registering import FILE, LOG_GATHERER, STATS_GATHERER, Order, Outcome, work_on
from lae_monitor.fleet.targets import BadTargets, target
from lae_monitor.fleet.trouble import Trouble

USER: Final = "customer"
TYPES: Final = {"incident": LOG_GATHERER, "stats": STATS_GATHERER}


def setremoteconfigoption(
    pathtoremote: str,
    section: str,
    option: str,
    value: str | None,
    *,
    host: str,
    user: str = USER,
    identity: str | Path | None = None,
    restart: str | None = "",
    known_hosts: str | Path = "~/.ssh/known_hosts",
    accept_new: bool = False,
) -> bool:
    """Sets an option in a tahoe.cfg of a host, and restarts its nodes if that changed it. Returns whether it did.

    Args:
        pathtoremote: of the file, or of the node's folder.
        section, option: such as `node` and `log_gatherer.furl`.
        value: None takes the option out.
        host: `[USER@]ADDRESS[:PORT]`.
        user, identity: as whom, and with which private key; None: the agent's keys, and those in ~/.ssh.
        restart: a line of shell; "": ~/restart.sh if it is there, else the unit of the node; None: nothing.
        known_hosts, accept_new: which host keys are believed.

    Raises:
        Trouble, BadTargets
    """
    path = pathtoremote if pathtoremote.endswith(".cfg") else f"{pathtoremote.rstrip('/')}/{FILE}"
    return _done(
        _access(user, identity, known_hosts, accept_new), host, Order(section, option, lambda _: value, [path], restart)
    )


def register_gatherer(
    publichost: str, admin_privkey_path: str, stdout: TextIO, stderr: TextIO, gatherer_type: str, furl: str
) -> None:
    """Registers the nodes of a host with the gatherer that has `furl`, and restarts them if that changed something.

    Args:
        publichost: `[USER@]ADDRESS[:PORT]`.
        admin_privkey_path: the private key.
        stdout, stderr: what was done, and what went wrong, go there as sentences without the FURL.
        gatherer_type: `incident` or `stats`.
        furl: of the gatherer.

    Raises:
        ValueError: another type of gatherer.
        Trouble, BadTargets
    """
    if gatherer_type not in TYPES:
        raise ValueError(f"there is no gatherer of type {gatherer_type!r}: it is {' or '.join(TYPES)}")
    set_ = TYPES[gatherer_type]
    order = Order(set_.section, set_.option, lambda _: furl, [f"{node}/{FILE}" for node in set_.nodes])
    try:
        changed = _done(_access(USER, admin_privkey_path, "~/.ssh/known_hosts", accept_new=False), publichost, order)
    except (Trouble, BadTargets) as error:
        stderr.write(f"{publichost}: {error}; {error.following}\n")
        raise
    stdout.write(f"{publichost}: {'registered, and restarted' if changed else 'was registered already'}\n")


def _access(user: str, identity: str | Path | None, known_hosts: str | Path, accept_new: bool) -> Access:
    return Access(
        user, identity=Path(identity) if identity else None, known_hosts=Path(known_hosts), accept_new=accept_new
    )


def _done(access: Access, host: str, order: Order) -> bool:
    outcome: Outcome = work_on(target(host, {}), access, order)
    if outcome.code:
        raise Trouble(outcome.code, outcome.why, outcome.following)
    return outcome.changed


def main(arguments: list[str]) -> int:
    """Runs it from a command line; the value comes from standard input, for arguments can be read by others."""
    if len(arguments) != 4:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    host, path, section, option = arguments
    try:
        changed = setremoteconfigoption(path, section, option, sys.stdin.readline().strip(), host=host)
    except (Trouble, BadTargets) as error:
        sys.stderr.write(f"{host}: {error}\nNext: {error.following}\n")
        return 1
    sys.stdout.write(f"{host}: {'changed' if changed else 'was so already'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

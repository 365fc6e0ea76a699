"""What keeps one host, or one step on it, from going well: a code, what was seen, and what to do next.

The codes are in docs/registering.md. No sentence holds a FURL or another secret.
"""

from typing import Final

from lae_monitor.core.secrets import redact

CODES: Final = {
    "unknown_host_key": "its SSH host key is not among those that are known",
    "changed_host_key": "its SSH host key is another than the one that is known",
    "login_refused": "it does not let this user in with this key",
    "unreachable": "no connection, or one that broke",
    "timeout": "it took too long to answer",
    "busy": "another run is at work on it",
    "no_nodes": "it has none of the nodes that were named",
    "bad_file": "a tahoe.cfg that cannot be edited safely",
    "not_permitted": "the account may not read or replace a file",
    "disk_full": "no room for the new file; the old one is as it was",
    "not_written": "the host could not replace a file; the old one is as it was",
    "no_restart": "it is not known how its nodes are restarted, so nothing was changed",
    "restart_failed": "what restarts its nodes did not end well",
    "not_heard": "the incident gatherer has not heard all its nodes since",
    "no_gatherer": "the incident gatherer does not run, so no node can connect",
    "no_furl": "no FURL could be made for it",
    "not_begun": "Ctrl-C came before its turn; nothing was done on it",
    "failed": "an unexpected error",
}


class Trouble(Exception):
    """It did not go well on one host.

    Args:
        code: one of CODES.
        why: what was seen.
        following: what to do next.
    """

    def __init__(self, code: str, why: str, following: str) -> None:
        super().__init__(redact(why))
        self.code = code
        self.following = following

    @property
    def why(self) -> str:
        return str(self)

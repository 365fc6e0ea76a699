"""Where a lab keeps what: every name and folder of it follows from the lab's name and the checkout, and from nothing else.

So whoever knows the name can take a lab down, also one whose maker died long ago.

    <checkout>/.cache/lab/<name>/       for people and for Ansible: key, known_hosts, ssh_config, environment, logs/
    /run/lae-lab/<ident>/               for the kernel and podman: pinned namespaces, about.json; gone at reboot
    <user's cache>/lae-monitor/lab/     images, by the hash of what is in them; and labs/<ident>/, what hosts wrote
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
RUN = Path("/run/lae-lab")

NAME = re.compile(
    r"[a-z][a-z0-9-]{0,23}"
)  # becomes part of a network namespace's name and of a socket's path (108 bytes)
HOST = re.compile(r"[a-z][a-z0-9-]{0,10}")  # "to-<host>" is a network interface: 15 bytes at most


class LabError(Exception):
    """What did not work, and what to do about it: one sentence each."""


def cache() -> Path:
    """The user's cache, shared by all checkouts, so that a clean clone finds the image that is there already."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lae-monitor" / "lab"


@dataclass(frozen=True)
class Places:
    """The folders of the lab `name` of `checkout`; they need not exist."""

    name: str
    checkout: Path = CHECKOUT

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise LabError(f"{self.name!r} is no name for a lab: it takes up to 24 of a-z, 0-9 and -, a letter first")

    @property
    def ident(self) -> str:
        """The lab's name on this machine: two checkouts may each have a lab `default`."""
        return f"lae-{self.name}-{hashlib.sha256(str(self.checkout).encode()).hexdigest()[:6]}"

    @property
    def folder(self) -> Path:
        return self.checkout / ".cache" / "lab" / self.name

    @property
    def run(self) -> Path:
        return RUN / self.ident

    @property
    def about(self) -> Path:
        """What the lab is made of, for processes that did not make it."""
        return self.run / "about.json"

    @property
    def sockets(self) -> Path:
        """ssh's shared connections. Two labs have the same addresses: one folder for both would mix up their hosts."""
        return self.run / "ssh"

    @property
    def storage(self) -> Path:
        """What the hosts wrote."""
        return cache() / "labs" / self.ident

    @property
    def mount_namespace(self) -> Path:
        return self.run / "mnt"

    @property
    def network(self) -> str:
        """The network namespace of the controller and the bridges, as `ip netns` knows it."""
        return self.ident

    def network_of(self, host: str) -> str:
        return f"{self.ident}.{host}"

    def inside(self, folder: Path | str = "/") -> list[str]:
        """What a command begins with to run inside the lab, in `folder`.

        Not `ip netns exec`: that mounts /sys anew at each call, and the lab's cgroup2 would be gone.
        """
        network = Path("/run/netns") / self.network
        return ["nsenter", f"--mount={self.mount_namespace}", f"--net={network}", f"--wdns={folder}", "--"]

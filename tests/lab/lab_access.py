"""How the controller comes in: a key made for this lab, the hosts' own keys, ssh's configuration, and names.

All of it lies in the lab's folder, for people, for Ansible and for fabric alike:

    id_ed25519, id_ed25519.pub    known_hosts    ssh_config    hosts    environment    logs/
"""

import shlex
import shutil
from collections.abc import Iterable, Mapping

from lab_hosts import Host
from lab_namespaces import command
from lab_places import Places

SSH = """Host *
    User root
    IdentityFile "{folder}/id_ed25519"
    IdentitiesOnly yes
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ConnectTimeout 10
    BatchMode yes
    LogLevel ERROR
"""


def variables(places: Places) -> dict[str, str]:
    """What programs in the lab find in their environment.

    Ansible shares connections by address and user. Two labs have the same addresses, so each has sockets of its own.
    """
    return {"LAE_LAB": str(places.folder), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(places.sockets)}


def names(hosts: Mapping[str, Host]) -> dict[str, str]:
    """Name to address, as everybody's /etc/hosts says it."""
    return {name: host.public_address for host in hosts.values() for name in (host.name, *host.plan.names)}


def write(places: Places, hosts: Mapping[str, Host]) -> None:
    """All that can be written before there is a host. What an earlier lab of the name left is removed."""
    folder = places.folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    comment = f"controller of the lab {places.name}"
    command("ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-C", comment, "-f", folder / "id_ed25519")
    known = "".join(f"{address} {name}\n" for name, address in names(hosts).items())
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{known}")
    (folder / "environment").write_text(
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables(places).items())
    )
    each = "".join(f"Host {host.name}\n    HostName {host.address}\n" for host in hosts.values())
    (folder / "ssh_config").write_text(each + SSH.format(folder=folder))


def write_known_hosts(places: Places, hosts: Mapping[str, Host], keys: Iterable[str]) -> None:
    """Asked of each host itself, so that no connection has to be trusted unseen."""
    lines = [
        f"{','.join(dict.fromkeys((host.name, host.address, host.public_address, *host.plan.names)))} {key}\n"
        for host, key in zip(hosts.values(), keys, strict=True)
    ]
    (places.folder / "known_hosts").write_text("".join(lines))

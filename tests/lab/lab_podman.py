"""podman for one lab, with storage, locks and state of its own: what other labs or the machine's own podman do is not felt."""

import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

import lab_image
import lab_tree
from lab_places import LabError, Places

# Without CAP_SYS_RESOURCE podman's own defaults fail, and so does more than this; it is enough for any service of ours.
MAX_FILES = 20_000
MAX_PROCESSES = 16_384

# What systemd and hardened units need: mount namespaces, device nodes, the journal's audit. Not all: never the clock or modules.
CAPABILITIES = "SYS_ADMIN,NET_ADMIN,SYS_PTRACE,AUDIT_WRITE,AUDIT_CONTROL,MKNOD,NET_RAW,DAC_READ_SEARCH,SYSLOG"

CONTAINERS = """[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
pids_limit = 0
base_hosts_file = "none"
host_containers_internal_ip = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{run}/libpod"
[network]
network_backend = "netavark"
network_config_dir = "{run}/networks"
"""
STORAGE = """[storage]
driver = "overlay"
graphroot = "{storage}"
runroot = "{run}/containers"
[storage.options]
additionalimagestores = ["{images}"]
"""


def _at_most(limit: int, which: int) -> int:
    hard = resource.getrlimit(which)[1]
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def configure(places: Places, image: Path) -> None:
    """Writes podman's configuration: what hosts write is theirs, what they start from is the image's, unchanged."""
    (places.run / "containers.conf").write_text(
        CONTAINERS.format(
            files=_at_most(MAX_FILES, resource.RLIMIT_NOFILE),
            processes=_at_most(MAX_PROCESSES, resource.RLIMIT_NPROC),
            run=places.run,
        )
    )
    images = lab_image.storage_of(image)
    (places.run / "storage.conf").write_text(STORAGE.format(storage=places.storage, run=places.run, images=images))


def environment(places: Places) -> dict[str, str]:
    return {
        **os.environ,
        "CONTAINERS_CONF": str(places.run / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(places.run / "storage.conf"),
    }


def podman(places: Places, *words: str) -> list[str]:
    """A command of podman, to run with `environment`."""
    return [*places.inside(), "podman", "--runtime", "runc", *words]


def container(places: Places, name: str) -> Path:
    """The file that holds what podman and runc call the host `name`."""
    return places.run / f"{name}.container"


def entering(places: Places, name: str, command: Sequence[str], *options: str) -> list[str]:
    """The command that runs `command` on a host that runs; `options` are those of runc exec, such as --tty.

    Not `podman exec`: it is three times as slow, and on a busy machine it loses the exit code to its own clean-up and then
    waits for five seconds.

    Raises:
        LabError: the lab is not up.
    """
    try:
        ident = container(places, name).read_text()
    except FileNotFoundError:
        raise LabError(f"the lab {places.name} is not up, or its host {name} never started") from None
    return [*places.inside(), "runc", "exec", *options, ident, *command]


def starting(places: Places, name: str, names: Mapping[str, str], log: Path) -> list[str]:
    """The command that starts the host `name`.

    Args:
        names: name to address, for its /etc/hosts.
        log: takes what systemd says on the console.
    """
    container(places, name).unlink(missing_ok=True)
    known = [f"--add-host={known}:{address}" for known, address in names.items() if known != name]
    return podman(
        places, "run", "--detach", "--name", name, f"--cidfile={container(places, name)}", "--hostname", name, "--systemd=always",
        f"--network=ns:/run/netns/{places.network_of(name)}", f"--cgroup-parent=/{places.ident}",
        "--log-driver=k8s-file", f"--log-opt=path={log}", "--dns=none", *known, f"--cap-add={CAPABILITIES}",
        "--security-opt=seccomp=unconfined", "--http-proxy=false", "--pull=never", lab_tree.REFERENCE,
    )  # fmt: skip

"""podman for one lab, with storage, locks and state of its own: what other labs or the machine's own podman do is not felt."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import lab_image
import lab_tree
from lab_places import Places

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


def starting(places: Places, name: str, names: Mapping[str, str], log: Path) -> list[str]:
    """The command that starts the host `name`.

    Args:
        names: name to address, for its /etc/hosts.
        log: takes what systemd says on the console.
    """
    known = [f"--add-host={known}:{address}" for known, address in names.items() if known != name]
    return podman(
        places, "run", "--detach", "--name", name, "--hostname", name, "--systemd=always",
        f"--network=ns:/run/netns/{places.network_of(name)}", f"--cgroup-parent=/{places.ident}",
        "--log-driver=k8s-file", f"--log-opt=path={log}", "--dns=none", *known, f"--cap-add={CAPABILITIES}",
        "--security-opt=seccomp=unconfined", "--http-proxy=false", "--pull=never", lab_tree.REFERENCE,
    )  # fmt: skip

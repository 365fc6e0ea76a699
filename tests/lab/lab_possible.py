"""Whether this machine can have a lab, and if not, exactly why not. It is tried, not guessed: kernels and containers differ."""

import os
import shutil
import subprocess

import lab_apt
import lab_image
import lab_tree
import lab_wheels
from lab_places import LabError

PROGRAMS = {  # program: Debian's package
    "conmon": "conmon", "debootstrap": "debootstrap", "ip": "iproute2", "nft": "nftables", "nsenter": "util-linux",
    "podman": "podman", "runc": "runc", "ssh": "openssh-client", "unshare": "util-linux",
}  # fmt: skip

TRIALS = {
    "a cgroup2 mount in a mount namespace": (
        "--mount", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir "/sys/fs/cgroup/lae-trial-$$" && rmdir "/sys/fs/cgroup/lae-trial-$$"',
    ),
    "bridges and cables in a network namespace": ("--net", "ip link add name trial0 type bridge && ip link add name trial1 type veth peer name trial2"),
    "address translation by nftables": ("--net", "nft add table ip t && nft add chain ip t c '{ type nat hook prerouting priority -100; }'"),
}  # fmt: skip


def obstacle() -> str:
    """Why there can be no lab here and now; empty if there can."""
    if os.geteuid():
        return "namespaces and mounts need root. Next: the same as root"
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if missing:
        return f"programs are missing. Next: apt-get install --no-install-recommends {' '.join(missing)}"
    for what, (kind, script) in TRIALS.items():
        tried = subprocess.run(["unshare", kind, "sh", "-c", script], capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"this machine does not allow {what}: {tried.stderr.strip()}"
    try:
        lab_wheels.pins()
        if not lab_image.is_made():
            lab_apt.source_of(lab_tree.SUITE)
    except LabError as error:
        return str(error)
    return ""

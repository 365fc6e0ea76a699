"""What a lab has of the kernel: network namespaces, a mount namespace with a cgroup2 of its own, and a control group.

`make` pins them, so that they need no process; `unmake` removes them, whatever is left of them, and what runs in them.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab_places import RUN, LabError, Places

DEADLINE = 20.0  # seconds for what was killed to be gone: a process that writes to a slow disk dies late

# runc wants pure cgroup2, which not every machine mounts. All machines have it to mount.
# With names of its own in /etc/hosts, the controller knows hosts as they know each other. runc's state is the lab's, too;
# by a mount, because podman's clean-up after a host's end does not pass runc's options on.
FURNISH = """
set -eu
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/"$1"
mount --bind "$2" /etc/hosts
mkdir -p /run/runc
mount --bind "$3" /run/runc
"""

# In a mount namespace of its own, since the lab's may be lost. Zombies do not count as populating.
EMPTY = """
set -eu
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
n=0
while [ -d "$1" ]; do
    n=$((n + 1)); [ $n -lt 1000 ] || { echo "it is still used" >&2; exit 1; }
    echo 1 > "$1/cgroup.kill"
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.02
done
"""


def command(*words: str | Path, text: str | None = None, what: str = "") -> str:
    """Runs a program of the machine; returns what it said.

    Raises:
        LabError: it failed.
    """
    done = subprocess.run([*map(str, words)], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{what or ' '.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def ip(lines: Iterable[str], namespace: str | None = None) -> None:
    """Several commands of `ip` at once."""
    within = ("-n", namespace) if namespace else ()
    command("ip", *within, "-batch", "-", text="".join(f"{line}\n" for line in lines), what="ip")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Labs are made and removed one after the other: what one of two removes at once, the other would stumble over."""
    with RUN.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def networks(places: Places) -> list[str]:
    """The lab's network namespaces that exist."""
    names = [line.split()[0] for line in command("ip", "netns", "list").splitlines() if line.strip()]
    return [name for name in names if name == places.network or name.startswith(places.network_of(""))]


def make(places: Places, hosts: Iterable[str], names: Path) -> None:
    """A network namespace for the controller and for each of `hosts`; the mount namespace; the control group.

    Args:
        names: a file that serves as /etc/hosts to the controller.
    """
    places.run.mkdir(parents=True)
    # Private, because a mount namespace can be pinned nowhere else. In memory, because it must not outlast a reboot.
    command("mount", "-t", "tmpfs", "-o", "mode=700", places.ident, places.run)
    command("mount", "--make-private", places.run)
    places.sockets.mkdir(mode=0o700)
    (places.run / "runc").mkdir(mode=0o700)
    for namespace in (places.network, *map(places.network_of, hosts)):
        command("ip", "netns", "add", namespace)
    places.mount_namespace.touch()
    command(
        "unshare", f"--mount={places.mount_namespace}", "--propagation", "slave",
        "sh", "-c", FURNISH, "sh", places.ident, names, places.run / "runc", what="a mount namespace with cgroup2",
    )  # fmt: skip


def unmake(places: Places) -> None:
    """Ends what runs in the lab, and removes what `make` made, or what is left of it.

    Raises:
        LabError: something does not go away.
    """
    left = networks(places)
    if places.network in left:  # first what watches the hosts: else it cleans up after them at the same time as we do
        _end_processes(places.network)
    apart = ("unshare", "--mount", "--propagation", "private")
    command(*apart, "sh", "-c", EMPTY, "sh", places.ident, what=f"removing the control group {places.ident}")
    for namespace in left:
        _end_processes(namespace)
        command("ip", "netns", "del", namespace)
    for mount in (places.mount_namespace, places.run):
        if _is_mounted(mount):
            command("umount", "--lazy", mount)  # somebody's shell may stand in it
    shutil.rmtree(places.run, ignore_errors=True)
    with contextlib.suppress(OSError):  # another lab's folder is in it
        places.run.parent.rmdir()


def _is_mounted(path: Path) -> bool:
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _end_processes(namespace: str) -> None:
    """What was started by `run`, and shared ssh connections that outlive it."""
    end = time.monotonic() + DEADLINE
    while pids := [int(pid) for pid in command("ip", "netns", "pids", namespace).split() if int(pid) != os.getpid()]:
        if time.monotonic() > end:
            raise LabError(f"processes in {namespace} do not end: {pids}")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)

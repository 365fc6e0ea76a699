"""How the image of the lab's hosts is made, step by step. A change here makes every machine make the image anew.

Debian's minimal system with what packages.txt lists; Tahoe-LAFS in /opt/tahoe; then a template of it, of which each host
becomes one of its own at its first boot; then podman's copy.
"""

import os
import shutil
import subprocess
from pathlib import Path

import lab_apt
from lab_places import HERE, LabError

SUITE = "bookworm"
REFERENCE = f"localhost/lae-host:{SUITE}"
PACKAGES = HERE / "packages.txt"
TAHOE = "/opt/tahoe"

# Needs a kernel of one's own, or a console, or a network.
MASKED = (
    "apt-daily-upgrade.timer", "apt-daily.timer", "console-getty.service", "dev-hugepages.mount", "e2scrub_all.timer",
    "e2scrub_reap.service", "getty.target", "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
    "systemd-modules-load.service", "systemd-remount-fs.service", "systemd-sysctl.service", "systemd-udev-trigger.service",
    "systemd-udevd.service",
)  # fmt: skip

# Each host makes its own key at its first boot. One kind is enough, and the other kinds take a second of a slow machine.
HOST_KEYS = """[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -N "" -t ed25519 -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
"""
RESOLV_CONF = "# No name server: the lab ends at its own network. Names are in /etc/hosts.\n"
DPKG = (
    "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n"
    # The kernel has one core_pattern for all: systemd-coredump must not set this machine's, neither now nor at a boot.
    "path-exclude=/usr/lib/sysctl.d/50-coredump.conf\n"
)

# Mounts of the build are its own, and are gone with it; its processes end with it.
ALONE = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]


def packages() -> list[str]:
    """The names in packages.txt."""
    return [words[0] for line in PACKAGES.read_text().splitlines() if (words := line.partition("#")[0].split())]


def _run(command: list[str], lock: int, what: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace",
        pass_fds=[lock], env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"{what} failed with {done.returncode}: {done.stdout[-3000:]}")


def debootstrap(tree: Path, downloads: Path, lock: int) -> None:
    """The system.

    Args:
        downloads: keeps the packages: a changed list fetches only what is new in it.
    """
    source = lab_apt.source_of(SUITE)
    rules = tree / "etc/dpkg/dpkg.cfg.d/lab"
    rules.parent.mkdir(parents=True)
    rules.write_text(DPKG)  # not for a power cut, and without manuals: halves the time and the size
    _run(
        [
            *ALONE, "debootstrap", "--variant=minbase", f"--cache-dir={downloads}", f"--keyring={source.keyring}",
            f"--include={','.join(packages())}", SUITE, str(tree), source.uri,
        ],
        lock, "debootstrap", lab_apt.proxy(),
    )  # fmt: skip
    rules.unlink()


def install_tahoe(tree: Path, lock: int) -> None:
    """Of the wheels in the tree's folder wheels/, and of nothing else."""
    script = f"python3 -m venv {TAHOE} && {TAHOE}/bin/pip install --quiet --no-index --no-deps /wheels/*.whl && {TAHOE}/bin/pip check"
    _run(
        [*ALONE, "chroot", str(tree), "/bin/sh", "-c", script], lock, "installing Tahoe-LAFS",
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "PIP_CONFIG_FILE": "/dev/null"},
    )  # fmt: skip


def make_template(tree: Path) -> None:
    """What must differ from host to host is made at boot; what is this machine's is taken out."""
    for pattern in ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "etc/ssh/ssh_host_*", "var/log/*.log"):
        for path in tree.glob(pattern):
            path.unlink()
    (tree / "etc/machine-id").write_text("")
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)  # systemd would take it for the host's
    (tree / "etc/hostname").write_text("")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (tree / "etc/resolv.conf").write_text(RESOLV_CONF)
    (tree / "etc/apt/sources.list").write_text("# No packages from anywhere: the lab ends at its own network.\n")
    units = tree / "etc/systemd/system"
    (units / "ssh.service.d").mkdir(parents=True)
    (units / "ssh.service.d/10-host-keys.conf").write_text(HOST_KEYS)
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")


def pack(tree: Path, storage: Path, working: Path, lock: int) -> None:
    """Makes podman's `storage`, which holds the tree as an image; `working` is removed again."""
    working.mkdir()
    (working / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}"\nrunroot = "{working}/run"\n'
    )
    (working / "containers.conf").write_text(
        f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nlock_type = "file"\ntmp_dir = "{working}/tmp"\n'
        f'image_copy_tmp_dir = "{working}"\n[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{working}/networks"\n'
    )
    packed = working / "tree.tar"
    _run(["tar", "-C", str(tree), "--numeric-owner", "--xattrs", "-cf", str(packed), "."], lock, "tar")
    changes = ("--change", 'CMD ["/sbin/init"]', "--change", "STOPSIGNAL SIGRTMIN+3")
    configuration = {
        "CONTAINERS_STORAGE_CONF": str(working / "storage.conf"),
        "CONTAINERS_CONF": str(working / "containers.conf"),
    }
    # Also alone, since podman leaves its storage mounted on itself: what is a mount can be neither renamed nor removed.
    _run(
        [*ALONE, "podman", "import", "--quiet", *changes, str(packed), REFERENCE], lock, "podman import", configuration
    )
    shutil.rmtree(working)

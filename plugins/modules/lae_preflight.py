#!/usr/bin/python
# MIT License; see LICENSE.
"""Finds out, before anything is changed, what would keep lae-monitor from running on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lae_preflight
short_description: What would keep lae-monitor from running on this host
description:
  - Looks at this host and changes nothing. Fails with a sentence for everything that is in the way, each of which says
    what to do.
options:
  listen:
    description: Where services of ours will listen, C(ADDRESS:PORT) by the name of the variable that sets it.
    type: dict
    default: {}
  units:
    description: Our own units; a port that one of them has is not in the way.
    type: list
    elements: str
    default: []
  writable:
    description:
      - Folders that are there or can be made, and can be written to; a path or a list of them, by the name of the variable
        that sets it.
    type: dict
    default: {}
  free:
    description: MiB that have to be free on each of them.
    type: int
    default: 0
  files:
    description: Files that have to exist; a path or a list of them, by the name of the variable that sets it.
    type: dict
    default: {}
  tag:
    description: The Python and machine that the release is for, such as C(cp311-linux_x86_64).
    type: str
  python:
    description: The Python that the release will run on.
    type: path
    default: /usr/bin/python3
attributes:
  check_mode:
    support: full
author: lae_monitor maintainers
"""

EXAMPLES = r"""
- name: Look before anything is changed
  lae_preflight:
    listen:
      monitor_port: 127.0.0.1:8642
    units: [lae-monitor-serve.service, lae-monitor-serve.socket]
    writable:
      lae_common_state: /var/lib/lae-monitor
    free: 500
"""

RETURN = r"""
problems:
  description: A sentence for each thing that is in the way.
  type: list
  elements: str
  returned: always
"""

import errno
import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SYSTEMD = Path("/run/systemd/system")
PROC = Path("/proc")
LISTENING = "0A"  # as /proc/net/tcp says it
PATIENCE = 60  # seconds for a program that tells something of this host
TELL_TAG = (
    "import ensurepip, platform, sys; "
    "print(f'cp{sys.version_info.major}{sys.version_info.minor}-{platform.system().lower()}_{platform.machine()}')"
)


def problems(wanted: dict[str, object], *, check_mode: bool) -> Iterator[str]:
    """A sentence for everything that is in the way."""
    if not SYSTEMD.is_dir():
        yield "systemd does not run on this host; lae-monitor's services are systemd units: use another host"
    if wanted["tag"]:
        yield from wrong_python(wanted["tag"], wanted["python"])
    for variable, address in wanted["listen"].items():
        yield from taken(variable, str(address), wanted["units"])
    for variable, path in each(wanted["writable"]):
        yield from unwritable(variable, path, wanted["free"], check_mode=check_mode)
    for variable, path in each(wanted["files"]):
        if not is_file(path):
            yield f"{variable}: there is no file {path} on this host; correct the variable, or make it"


def each(places: dict[str, object]) -> Iterator[tuple[str, Path]]:
    """Variable and path of every place, which is a path or a list of them."""
    for variable, paths in places.items():
        for path in paths if isinstance(paths, list) else [paths]:
            yield variable, Path(str(path))


def is_file(path: Path) -> bool:
    """Whether it is one, as far as this account can see."""
    try:
        return path.is_file()
    except OSError:
        return False


# ---- Python --------------------------------------------------------------------------------------------------------


def wrong_python(tag: str, python: str) -> Iterator[str]:
    try:
        done = subprocess.run([python, "-c", TELL_TAG], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        yield f"{python} does not answer within {PATIENCE} s: see what keeps it"
        return
    except OSError as error:
        yield f"{python}: {error.strerror}; install Python 3.11 or newer (apt-get install python3 python3-venv)"
        return
    if done.returncode:
        yield f"{python} cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"
    elif done.stdout.strip() != tag:
        yield (
            f"the release is for {tag}, and this host is {done.stdout.strip()}: run make wheelhouse with that Python "
            "on such a machine, or set lae_common_python to one that fits"
        )


# ---- ports ---------------------------------------------------------------------------------------------------------


def taken(variable: str, listen: str, units: list[str]) -> Iterator[str]:
    """Whether somebody else listens on the port, at an address that overlaps."""
    address, _, number = listen.rpartition(":")
    if not number.isdecimal() or not 0 < int(number) <= 65535:
        yield f"{variable}: {number} is no port: give one from 1 to 65535"
        return
    port = int(number)
    for found, inode in listeners(port):
        if overlap(found, address.strip("[]")) and (owner := holder(inode, port, PROC)) not in units:
            yield (
                f"{variable}: port {port} of this host is in use by {owner or 'another process'}: stop that "
                f"(ss -ltnp 'sport = :{port}' says more), or set {variable} to another port"
            )
            return


def listeners(port: int) -> Iterator[tuple[str, str]]:
    """Address and inode of every socket that listens on `port`; the format is that of proc(5)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if fields[3] == LISTENING and int(number, 16) == port:
                yield as_address(host), fields[9]


def as_address(text: str) -> str:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)


def overlap(found: str, wanted: str) -> bool:
    """Whether who has `found` keeps others from `wanted`; a name may mean any address."""
    if wanted == "localhost":
        return overlap(found, "127.0.0.1") or overlap(found, "::1")
    try:
        one, other = ipaddress.ip_address(found), ipaddress.ip_address(wanted.partition("%")[0])
    except ValueError:
        return True
    if one.version == other.version:
        return one == other or one.is_unspecified or other.is_unspecified
    return (one if one.version == 6 else other).is_unspecified  # which takes IPv4 as well


def holder(inode: str, port: int, proc: Path) -> str:
    """The unit that holds the socket, or the program's name, "" when it cannot be found. `proc` is as proc(5) says."""
    for process in proc.iterdir():
        if not process.name.isdigit() or not holds(process, inode):
            continue
        try:
            if process.name == "1" and (process / "comm").read_text().strip() == "systemd":
                return socket_unit(port)
            return service_unit(process)
        except OSError:  # it has ended meanwhile
            continue
    return ""


def holds(process: Path, inode: str) -> bool:
    """Whether the socket is one of its open files, of which others come and go while we look."""
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return False
    for entry in entries:
        with suppress(OSError):
            if str(entry.readlink()) == f"socket:[{inode}]":
                return True
    return False


def service_unit(process: Path) -> str:
    """The unit that `process` belongs to, else its name."""
    for line in (process / "cgroup").read_text().splitlines():
        for part in reversed(line.split("/")):
            if part.endswith(".service"):
                return part
    return (process / "comm").read_text().strip()


def socket_unit(port: int) -> str:
    """The socket unit for which systemd itself listens on `port`."""
    command = ["systemctl", "list-sockets", "--no-legend", "--no-pager", "--plain"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return "systemd"
    for line in done.stdout.splitlines():
        address, unit, *_ = [*line.split(), ""]
        if address.rpartition(":")[2] == str(port):
            return unit
    return "systemd"


# ---- folders -------------------------------------------------------------------------------------------------------


def unwritable(variable: str, path: Path, needed: int, *, check_mode: bool) -> Iterator[str]:
    """Whether `path`, or the nearest folder above it that exists, cannot be written to, or has not `needed` MiB free."""
    if not path.is_absolute():
        yield f"{variable}: {str(path)!r} is no folder's whole path: begin it with /"
        return
    there = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not there.is_dir():
        yield f"{variable}: {there} is no folder: move it away, or set {variable} to another place"
        return
    try:
        try_to_write(there, check_mode=check_mode)
        free = shutil.disk_usage(there).free // 2**20
    except OSError as error:
        yield f"{variable}: {there} cannot be written ({error.strerror}): mend that disk, or set {variable} to another place"
        return
    if free < needed:
        yield (
            f"{variable}: {there} has {free} MiB free, and {needed} MiB are needed: make room, or set {variable} to a "
            "larger disk"
        )


def try_to_write(folder: Path, *, check_mode: bool) -> None:
    """
    Raises:
        OSError: it cannot be done.
    """
    if check_mode:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return
    with tempfile.TemporaryFile(dir=folder, prefix=".lae-preflight-") as file:  # nameless, where the disk can do that
        file.write(b"lae-monitor\n")
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "listen": {"type": "dict", "default": {}},
            "units": {"type": "list", "elements": "str", "default": []},
            "writable": {"type": "dict", "default": {}},
            "free": {"type": "int", "default": 0},
            "files": {"type": "dict", "default": {}},
            "tag": {"type": "str"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    found = list(problems(module.params, check_mode=module.check_mode))
    if found:
        module.fail_json(msg="Nothing was changed on this host. " + "; ".join(found), problems=found)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()

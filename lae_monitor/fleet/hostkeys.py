"""Which SSH host keys are believed: those that OpenSSH knows; a new one where that is asked for, a changed one never."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from lae_monitor.fleet.trouble import Trouble

SYSTEM: Final = Path("/etc/ssh/ssh_known_hosts")

_writing = threading.Lock()  # several hosts may be new at once


def believe(client: Any, known_hosts: Path, *, accept_new: bool) -> None:
    """Makes a `paramiko.SSHClient` believe the keys in `known_hosts` and in the system's file.

    Raises:
        OSError: the file is there, and cannot be read.
    """
    for path in (known_hosts, SYSTEM):
        if path.exists():
            _load(client, path)
    client.set_missing_host_key_policy(_Policy(known_hosts, accept_new=accept_new))


def _load(client: Any, path: Path) -> None:
    """Line by line, for paramiko would stumble over a mark, and over a line that is none."""
    from paramiko.hostkeys import HostKeyEntry  # noqa: PLC0415 - takes a third of a second

    keys = client.get_host_keys()
    for line in path.read_text(errors="replace").splitlines():
        if line.strip() and line.lstrip()[0] not in "#@":
            try:
                entry = HostKeyEntry.from_line(line)
            except Exception:  # noqa: BLE001, S112 - it has a kind for each way to be wrong
                continue
            for host in entry.hostnames if entry is not None else ():
                if entry.key.get_name() not in (keys.lookup(host) or ()):
                    keys.add(host, entry.key.get_name(), entry.key)


class _Policy:
    """What happens to a host that no file knows; paramiko asks, and takes a return for yes."""

    def __init__(self, path: Path, *, accept_new: bool) -> None:
        self._path = path
        self._accept_new = accept_new

    def missing_host_key(self, _client: Any, host: str, key: Any) -> None:
        shown = f"{key.get_name()} {key.fingerprint}"
        if not self._accept_new:
            name, _, port = host.rpartition("]:") if host.startswith("[") else (host, "", "")
            scan = f"ssh-keyscan -p {port} {name[1:]}" if port else f"ssh-keyscan {host}"
            raise Trouble(
                "unknown_host_key",
                f"nobody told us its host key, which it says is {shown}",
                f"compare the fingerprint with the host's own, then {scan} >> {self._path}; "
                "or believe what is new with --host-keys accept-new",
            )
        if _is_revoked(key.get_base64(), (self._path, SYSTEM)):
            raise Trouble("changed_host_key", f"its host key, {shown}, is revoked", "do not trust that host")
        line = f"{host} {key.get_name()} {key.get_base64()}\n"
        with _writing:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "r+b") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                begin = b"" if file.read(1) in {b"", b"\n"} else b"\n"
                file.write(begin + line.encode())


def _is_revoked(key: str, paths: Iterable[Path]) -> bool:
    """Whether a file marks the key so; paramiko passes over lines with marks."""
    lines = [line.split() for path in paths if path.exists() for line in path.read_text(errors="replace").splitlines()]
    return any(line[:1] == ["@revoked"] and key in line for line in lines)

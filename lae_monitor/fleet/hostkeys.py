"""Which SSH host keys are believed: those that OpenSSH knows; a new one where that is asked for, a changed one never."""

import os
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lae_monitor.fleet.known_hosts import Believed, known, name_of
from lae_monitor.fleet.trouble import Trouble

SYSTEM: Final = Path("/etc/ssh/ssh_known_hosts")
_RSA: Final = ("rsa-sha2-512", "rsa-sha2-256")  # what keys of the kind ssh-rsa sign with

_writing = threading.Lock()  # several hosts may be new at once


def believe(client: Any, host: str, port: int, known_hosts: Path, *, accept_new: bool) -> Callable[..., Any]:
    """Makes a `paramiko.SSHClient` believe the keys that `known_hosts` and the system's file have of a host.

    Returns:
        A `transport_factory` for it, that asks the host for a key of a kind that is known first.

    Raises:
        Trouble: a file is there, and cannot be read.
    """
    try:
        believed = known(host, port, (known_hosts, SYSTEM))
    except OSError as error:
        raise _unusable(error, known_hosts) from error
    # paramiko knows of no host itself, so it asks this about every key.
    client.set_missing_host_key_policy(_Policy(known_hosts, believed, name_of(host, port), accept_new=accept_new))
    kinds = [kind for one in believed.right for kind in (_RSA if one.kind == "ssh-rsa" else (one.kind,))]

    def transport(*args: Any, **kwargs: Any) -> Any:
        from paramiko import Transport  # noqa: PLC0415 - takes a third of a second

        made = Transport(*args, **kwargs)
        options = made.get_security_options()
        options.key_types = sorted(options.key_types, key=lambda kind: kind not in kinds)
        return made

    return transport


class _Policy:
    """Whether a host's key is the one that is known; paramiko asks, and takes a return for yes."""

    def __init__(self, path: Path, believed: Believed, name: str, *, accept_new: bool) -> None:
        self._path = path
        self._believed = believed
        self._name = name
        self._accept_new = accept_new

    def missing_host_key(self, _client: Any, _host: str, key: Any) -> None:
        shown = f"{key.get_name()} {key.fingerprint}"
        text = key.get_base64()
        if text in self._believed.revoked:
            raise Trouble("changed_host_key", f"its host key, {shown}, is revoked", "do not trust that host")
        if any((one.kind, one.key) == (key.get_name(), text) for one in self._believed.right):
            return
        if self._believed.keys:
            raise self._changed(shown)
        if not self._accept_new:
            raise self._unknown(shown)
        try:
            self._keep(f"{self._name} {key.get_name()} {text}\n")
        except OSError as error:
            raise _unusable(error, self._path) from error

    def _changed(self, shown: str) -> Trouble:
        one = self._believed.keys[0]
        return Trouble(
            "changed_host_key",
            f"its host key is {shown}, and not the {one.kind} in line {one.line} of {one.path}: "
            "it was installed anew, or it is another host",
            f"if that was meant: ssh-keygen -f {shlex.quote(str(one.path))} -R {shlex.quote(self._name)}, "
            "or where it is known by a pattern, mend that line",
        )

    def _unknown(self, shown: str) -> Trouble:
        host, _, port = self._name.removeprefix("[").rpartition("]:") if "]:" in self._name else (self._name, "", "")
        scan = f"ssh-keyscan -p {port} {host}" if port else f"ssh-keyscan {host}"
        why = f"its host key is not known; it presents {shown}"
        if self._believed.authorities:
            one = self._believed.authorities[0]
            why += (
                f"; line {one.line} of {one.path} has an authority for it, whose certificates are not understood here"
            )
        return Trouble(
            "unknown_host_key",
            why,
            f"compare the fingerprint with the host's own, then {scan} >> {self._path}; "
            "or believe what is new with --host-keys accept-new",
        )

    def _keep(self, line: str) -> None:
        with _writing:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "r+b") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - 1, 0))
                begin = b"" if file.read(1) in {b"", b"\n"} else b"\n"
                file.write(begin + line.encode())


def _unusable(error: OSError, path: Path) -> Trouble:
    return Trouble(
        "unknown_host_key",
        f"{error.filename or path}, where host keys are known, cannot be used: {error.strerror}",
        "name another file with --known-hosts, or let this account read and write it",
    )

"""A host of the lab: what one may do to it from outside, as its operator, its provider or its misfortune."""

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lab_network
import lab_podman
from lab_places import HOST, LabError, Places

BOOT = 90.0  # seconds; a quiet machine takes one, a loaded one six
SHUTDOWN = 30.0  # seconds until what does not end in order is killed
PATIENCE = 120.0  # seconds for a command of which nothing is known
POLL = 0.05  # seconds between two looks at something that nobody announces


@dataclass(frozen=True)
class HostPlan:
    """What a host shall be.

    Attributes:
        nat: behind address translation: others reach only `ports`, and those by its public address.
        ports: TCP ports that are forwarded to it.
        names: more names for its public address, in everybody's /etc/hosts.
        tahoe: runs a Tahoe-LAFS storage server and an introducer.
    """

    name: str
    nat: bool = False
    ports: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    tahoe: bool = False

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.name):
            raise LabError(f"{self.name!r} is no name for a host: it takes up to 11 of a-z, 0-9 and -, a letter first")


def await_that(
    condition: Callable[[], Any], what: str | Callable[[], str], deadline: float = BOOT, poll: float = POLL
) -> Any:
    """Waits until `condition()` is true, and returns what it returned.

    Args:
        what: is waited for; or gives the text of the error, such as a journal.

    Raises:
        LabError: it was not, within `deadline` seconds.
    """
    end = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > end:
            raise LabError(f"not within {deadline:.0f} s: {what() if callable(what) else what}")
        time.sleep(poll)
    return result


@dataclass(frozen=True)
class Host:
    """A running host.

    Attributes:
        address: where the controller reaches it.
        public_address: where the other hosts reach it; the same unless it is behind address translation.
    """

    places: Places
    plan: HostPlan
    address: str
    public_address: str

    @property
    def name(self) -> str:
        return self.plan.name

    def start(self, names: Mapping[str, str], log: Path) -> None:
        """Boots it for the first time; does not wait.

        Args:
            names: name to address, for its /etc/hosts.
            log: takes what systemd says on the console.

        Raises:
            LabError: podman refuses.
        """
        _, said, code = self._do(lab_podman.starting(self.places, self.name, names, log), None, PATIENCE)
        if code:
            raise LabError(f"{self.name} does not start: {said.decode(errors='replace').strip()}")

    def exec(
        self, command: Sequence[str], stdin: str | None = None, *, check: bool = False, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on the host as root, not over its network.

        Args:
            stdin: what it reads; nothing unless given.
            check: whether to raise when it fails.
            timeout: in seconds.

        Raises:
            LabError: it failed and `check` is true, or it took too long.
        """
        data = None if stdin is None else stdin.encode(errors="surrogateescape")
        out, err, code = self._exec(command, data, timeout)
        done = subprocess.CompletedProcess(
            list(command), code, out.decode(errors="replace"), err.decode(errors="replace")
        )
        if check:
            self._refuse_failure(done)
        return done

    def _refuse_failure(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode:
            said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            raise LabError(f"{self.name}: {shlex.join(done.args)[:300]}: {done.returncode}\n{said}")

    def entering(self, command: Sequence[str], *options: str) -> list[str]:
        """What `exec` runs on the machine; `options` are those of runc exec, such as --tty."""
        return lab_podman.entering(self.places, self.name, command, *options)

    def _exec(self, command: Sequence[str], data: bytes | None, timeout: float) -> tuple[bytes, bytes, int]:
        return self._do(self.entering(command), data, timeout)

    def _podman(self, *words: str) -> tuple[bytes, bytes, int]:
        return self._do(lab_podman.podman(self.places, *words), None, PATIENCE)

    def _do(self, words: list[str], data: bytes | None, timeout: float) -> tuple[bytes, bytes, int]:
        """Output, errors and exit code."""
        source = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        environment = lab_podman.environment(self.places)
        try:
            done = subprocess.run(words, env=environment, capture_output=True, timeout=timeout, check=False, **source)
        except subprocess.TimeoutExpired as expired:
            told = (expired.stdout or b"")[-2000:] + (expired.stderr or b"")[-2000:]
            what = shlex.join(words[len(self.places.inside()) :])[:300]
            told = told.decode(errors="replace")
            raise LabError(f"{self.name}: {what}: not within {timeout:.0f} s\n{told}") from expired
        return done.stdout, done.stderr, done.returncode

    def write(self, path: str, data: bytes, mode: int = 0o644, owner: str = "root:root") -> None:
        """Puts a file where it belongs, whole or not at all; its folder must exist."""
        script = (
            'set -eu; part="$1.part"; trap \'rm -f "$part"\' EXIT; '
            'install -m "$2" -o "${3%:*}" -g "${3#*:}" /dev/stdin "$part"; mv -T "$part" "$1"'
        )
        out, err, code = self._exec(["sh", "-c", script, "sh", path, f"{mode:o}", owner], data, PATIENCE)
        if code:
            raise LabError(f"{self.name}: {path} cannot be written: {(out + err).decode(errors='replace').strip()}")

    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            LabError: it is not there.
        """
        out, err, code = self._exec(["cat", path], None, PATIENCE)
        if code:
            raise LabError(f"{self.name}: {path} cannot be read: {err.decode(errors='replace').strip()}")
        return out

    def await_running(self, deadline: float = BOOT) -> None:
        """Until systemd has started all that it will start, and sshd answers at the host's address with the host's key.

        Raises:
            LabError: not within `deadline` seconds.
        """
        key = await_that(self._booted, f"{self.name} runs", deadline)
        await_that(lambda: key in self._answered(), f"sshd of {self.name} answers", deadline)

    def _booted(self) -> str:
        """The host's key, once systemd is done. `--wait` waits; it cannot before systemd listens.

        Mounts are shared, as systemd has them on a host that is no container: LoadCredential= needs that.
        """
        script = (
            "mount --make-rshared /; state=$(systemctl is-system-running --wait); echo $state; "
            "cat /etc/ssh/ssh_host_ed25519_key.pub"
        )
        said = self.exec(["sh", "-c", script]).stdout.split()
        return said[2] if len(said) > 2 and said[0] in {"running", "degraded"} else ""

    def _answered(self) -> str:
        asking = [*self.places.inside(), "ssh-keyscan", "-T", "2", "-t", "ed25519", self.address]
        return subprocess.run(asking, capture_output=True, text=True, check=False).stdout

    def host_key(self) -> str:
        """Its public key, asked of the host itself: `ssh-ed25519 AAAA...`"""
        return " ".join(self.read("/etc/ssh/ssh_host_ed25519_key.pub").decode().split()[:2])

    def cut(self) -> None:
        """Takes it off the network: what is sent to it is lost. `exec` still works."""
        lab_network.cut(self.places, self.name)

    def heal(self) -> None:
        """Puts it back on the network; returns when sshd answers."""
        lab_network.heal(self.places, self.name)
        self.await_running()

    def is_running(self) -> bool:
        said, _, _ = self._podman("inspect", "--format", "{{.State.Running}}", self.name)
        return said.strip() == b"true"

    def restart(self) -> None:
        """Shuts it down in order and boots it; returns when it runs. /run, /tmp and the journal begin anew.

        Raises:
            LabError: it does not come back.
        """
        _, said, code = self._podman("restart", "--time", f"{SHUTDOWN:.0f}", self.name)
        if code:
            raise LabError(f"{self.name} does not restart: {said.decode(errors='replace').strip()}")
        self.await_running()

    def journal(self, unit: str, lines: int = 200) -> str:
        """The last lines that `unit` wrote since the host's boot."""
        return self.exec(["journalctl", "--no-pager", "--quiet", "--lines", str(lines), "--unit", unit]).stdout

    def failed_units(self) -> list[str]:
        """Units that failed, and those that systemd starts again and again."""
        script = (
            "systemctl list-units --no-legend --plain --failed; "
            "systemctl list-units --no-legend --plain --all --state=auto-restart --state=activating"
        )
        return [
            line.split()[0] for line in self.exec(["sh", "-c", script]).stdout.splitlines() if re.match(r"\S+\.", line)
        ]

    def trouble(self) -> str:
        """The journals of the units that failed; empty if none did."""
        if not self.is_running():
            return f"{self.name} does not run; its console is in {self.places.folder / 'logs'}"
        return "\n".join(f"---- {self.name}: {unit}\n{self.journal(unit)}" for unit in self.failed_units())

"""Hosts to register: OpenSSH's own sshd on loopback, each with a host key, an account's home and a log of what was run on it."""

import os
import pwd
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
SFTP = next(
    (path for path in ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server") if os.path.exists(path)), ""
)
ME = pwd.getpwuid(os.getuid()).pw_name
PATIENCE = 30.0  # seconds; the machine may be busy

RESTART = """#!/bin/sh
echo restarted >> "$HOME/restarts"
"""


def keygen(path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, stdin=subprocess.DEVNULL
    )
    return path


class Host:
    """A host whose account has `home` for its home, and who lets `key` in. Stopped at the end of a `with`."""

    def __init__(self, folder, key, *, options=""):
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.commands = folder / "commands"
        self.key = keygen(folder / "host_key")
        self.options = options
        (folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        self.restart_script(RESTART)
        self.process = None

    def restart_script(self, text):
        path = self.home / "restart.sh"
        path.write_text(text)
        path.chmod(0o755)

    def node(self, name="storageserver", text="[node]\nnickname = n1\n#log_gatherer.furl =\n", mode=0o640):
        """A node's folder; returns its tahoe.cfg."""
        path = self.home / name / "tahoe.cfg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def program(self, name, text):
        """A program that the host's commands find before its own."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    @property
    def restarts(self):
        path = self.home / "restarts"
        return path.read_text().count("restarted") if path.exists() else 0

    def ran(self):
        return self.commands.read_text() if self.commands.exists() else ""

    @property
    def known(self):
        kind, key, *_ = self.key.with_suffix(".pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    def start(self):
        session = self.folder / "session.sh"
        session.write_text(
            f'#!/bin/sh\nexport HOME="{self.home}" PATH="{self.folder}/bin:$PATH"; cd "$HOME"\n'
            f'echo "$SSH_ORIGINAL_COMMAND" >> "{self.commands}"\n'
            f'case "$SSH_ORIGINAL_COMMAND" in *sftp-server) exec {SFTP} -d "$HOME";; esac\n'
            'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        session.chmod(0o755)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.key}\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSubsystem sftp {SFTP}\nForceCommand {session}\nMaxStartups 100\n{self.options}"
        )
        self.log = (self.folder / "sshd.log").open("ab")
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(config)], stderr=self.log, stdout=self.log, stdin=subprocess.DEVNULL
        )
        end = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < end, (self.folder / "sshd.log").read_text()
                time.sleep(0.02)
            else:
                return self

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.log.close()
            self.process = None

    def leftovers(self):
        """Temporary files in the folders of nodes."""
        return list(self.home.rglob(".tahoe.cfg-*"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)

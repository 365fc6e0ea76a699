"""A checkout as an operator has it, with an EC2 of its own: what the tests of the playbooks run.

The EC2 is a moto server inside the lab, whose instances have the addresses of the lab's hosts; Ansible's inventory plugin and
boto3 find them as they find a real fleet. `said` is all that was ever printed, for a last look whether a secret was among it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab_places import CHECKOUT

BIN = Path(sys.executable).parent
EC2 = "http://127.0.0.1:5566"
NAME = "monitoring.lab"  # the monitor's, behind address translation
PARTS = ("ansible.cfg", "site.yml", "playbooks", "roles", "plugins", "inventory", "lae_monitor")


class Run:
    """One run of ansible-playbook: its exit code, what it said, and what it counted by host."""

    def __init__(self, done):
        self.code = done.returncode
        self.said = done.stdout + done.stderr

    @property
    def recap(self):
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", self.said, re.MULTILINE)
        return {host: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}

    def changed(self):
        return {host: counts["changed"] for host, counts in self.recap.items() if host != "localhost"}


class Site:
    """A checkout in `folder`, whose commands run inside `lab`."""

    def __init__(self, lab, folder, release):
        self.lab = lab
        self.folder = folder
        self.said = []
        folder.mkdir()
        for part in PARTS:
            source = CHECKOUT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / part)
        (folder / "dist").symlink_to(release)
        self.environ = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_USER": "root",
            "ANSIBLE_PRIVATE_KEY_FILE": str(lab.folder / "id_ed25519"),
            "ANSIBLE_SSH_COMMON_ARGS": f"-o UserKnownHostsFile={lab.folder / 'known_hosts'}",
            "AWS_ENDPOINT_URL_EC2": EC2,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }

    def start_ec2(self):
        """A moto server with the lab's hosts; returns its process."""
        with (self.folder / "moto.log").open("wb") as log:
            server = self.lab.popen(
                [BIN / "moto_server", "-H", "127.0.0.1", "-p", EC2.rpartition(":")[2]],
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        wanted = [
            f"{host.name}={'monitor' if host.plan.nat else 'node'}={host.address}" for host in self.lab.hosts.values()
        ]
        self.shell(
            f"{sys.executable} {Path(__file__).with_name('ec2_fleet.py')} {' '.join(wanted)} untagged==10.77.0.99"
        )
        return server

    def shell(self, block, check=True, timeout=900):
        """Types `block` at the controller; returns what it printed."""
        block = block.replace("monitoring.example.org", NAME)
        done = self.lab.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == 0 or not check, f"{block}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
        return done.stdout if check else done

    def play(self, playbook="site", *options):
        """ansible-playbook; whatever comes of it."""
        done = self.lab.run(
            ["ansible-playbook", f"playbooks/{playbook}.yml", *options],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        return Run(done)

    def begin(self, playbook="site", *options):
        """ansible-playbook, to look at while it runs."""
        return self.lab.popen(
            ["ansible-playbook", f"playbooks/{playbook}.yml", *options],
            cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def end(self, process, said):
        """What a begun run came to; `said` is what was read of it already."""
        rest, _ = process.communicate(timeout=900)
        done = subprocess.CompletedProcess([], process.returncode, said + rest, "")
        self.said.append(done.stdout)
        return Run(done)

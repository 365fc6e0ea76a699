"""A checkout as an operator has it, with an EC2 of its own: what the tests of the playbooks run.

The fleet is monitor1, node1 and node2, each node with two Tahoe-LAFS nodes. docs/deploy.md says how it is deployed; `blocks`
reads the commands there, so that the tests type what a reader types.

The EC2 is a moto server inside the lab, whose instances have the addresses of the lab's hosts; Ansible's inventory plugin and
boto3 find them as they find a real fleet. `said` is all that was ever printed, for a last look whether a secret was among it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab_places import CHECKOUT

HOSTS = ("monitor1", "node1", "node2")
UNITS = ("serve", "incidents", "crashes")
LAE = "/usr/local/bin/lae-monitor"
PAGE = CHECKOUT / "docs" / "deploy.md"
BIN = Path(sys.executable).parent
EC2 = "http://127.0.0.1:5566"
NAME = "monitoring.lab"  # the monitor's, behind address translation
PARTS = ("ansible.cfg", "site.yml", "playbooks", "roles", "plugins", "inventory", "lae_monitor")
TIMEOUT = 900  # seconds for a run; a new fleet takes one minute on an idle machine


def blocks(heading):
    """The shell blocks below a heading of docs/deploy.md, each as a reader would type it."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


def one_line(text):
    """`text` without Ansible's line breaks."""
    return re.sub(r"\s+", " ", text)


class Run:
    """One run of ansible-playbook: its exit code, what it said, and what it counted by host."""

    def __init__(self, done):
        self.code = done.returncode
        self.said = done.stdout + done.stderr

    def fine(self):
        """This run, which has to have succeeded."""
        assert self.code == 0, self.said[-6000:]
        return self

    @property
    def recap(self):
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", self.said, re.MULTILINE)
        return {host: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}

    def changed(self):
        return {host: counts["changed"] for host, counts in self.recap.items() if host != "localhost"}


class Site:
    """A checkout in `folder`, whose commands run inside `lab`.

    Attributes:
        said: all that the commands printed.
        in_doubt: whether a test failed, so that the fleet may not be as site.yml leaves it.
    """

    def __init__(self, lab, folder, release, checkout=CHECKOUT):
        self.lab = lab
        self.folder = folder
        self.said = []
        self.in_doubt = False
        folder.mkdir()
        for part in PARTS:
            source = checkout / part
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

    def shell(self, block, check=True, timeout=TIMEOUT):
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
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=TIMEOUT,
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
        rest, _ = process.communicate(timeout=TIMEOUT)
        done = subprocess.CompletedProcess([], process.returncode, said + rest, "")
        self.said.append(done.stdout)
        return Run(done)

    @property
    def monitor(self):
        """The monitor host."""
        return self.lab.hosts["monitor1"]

    def ask(self, *words):
        """The answer of `lae-monitor --json` on the monitor host."""
        return json.loads(self.monitor.exec([LAE, *words, "--json"]).stdout)

    def connections(self):
        """How many of its Tahoe-LAFS nodes each host has connected."""
        return {host["host"]: host["connections"] for host in self.ask("fleet", "status")["hosts"]}

    def pids(self):
        """The main process of each service, by its part."""
        show = ["systemctl", "show", "--value", "-p", "MainPID"]
        return {part: self.monitor.exec([*show, f"lae-monitor-{part}"]).stdout for part in UNITS}

    def furls(self):
        """Every secret of a FURL on the monitor host."""
        command = ["sh", "-c", "cat /var/lib/lae-monitor/credentials/incidents/*/*.furl"]
        return [line.rpartition("/")[2] for line in self.monitor.exec(command).stdout.split()]

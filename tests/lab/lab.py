"""Real hosts for tests: each with systemd, sshd, cron and an address of its own, on a network that ends at the lab.

    with Lab("mine") as lab:
        lab.up([HostPlan("monitor1", nat=True, ports=(8000,), names=("monitoring.lab",)), HostPlan("node1", tahoe=True)])
        lab.run(["ansible-playbook", "playbooks/site.yml"], check=True)
        lab.hosts["node1"].exec(["systemctl", "is-active", "cron"]).stdout

A lab needs no process to go on: `python tests/lab up` leaves one, `python tests/lab down` finds it again. Several may be up
at once; they have the same addresses and never meet.

    lab_places      names and folders                    lab_image       the image, made once
    lab_namespaces  what it has of the kernel            lab_apt         where Debian's packages come from
    lab_network     bridges, cables, translation         lab_wheels      Tahoe-LAFS as the lock pins it
    lab_podman      podman for one lab                   lab_tahoe       storage server and introducer on a host
    lab_hosts       a host                               lab_access      key, known_hosts, ssh_config, names
    lab_tree        how the image is made                lab_possible    whether this machine can
    __main__        the command line
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import lab_access
import lab_image
import lab_namespaces
import lab_network
import lab_podman
import lab_tahoe
from lab_hosts import Host, HostPlan
from lab_places import CHECKOUT, RUN, LabError, Places, cache
from lab_possible import obstacle

__all__ = ["THREE", "Host", "HostPlan", "Lab", "LabError", "labs", "obstacle", "plans", "remove_orphans"]

AT_ONCE = 8  # hosts that are made at the same time; more only wait for each other
LOGS = 24 * 3600.0  # seconds for which the folder of a lab that is down is kept, with its logs


def plans(count: int) -> list[HostPlan]:
    """The usual lab of `count` hosts: monitor1 behind address translation, and nodes with Tahoe-LAFS."""
    monitor = HostPlan("monitor1", nat=True, ports=(3118, 8000), names=("monitoring.lab",))
    return [monitor, *(HostPlan(f"node{number}", tahoe=True) for number in range(1, count))]


THREE = tuple(plans(3))


class Lab:
    """The lab `name`, which may be up already; `hosts` are those it has then.

    Args:
        name: of the lab, in this checkout.
        owned: whether it shall end with this process; if the process cannot see to it, whoever comes next does.
    """

    def __init__(self, name: str, *, owned: bool = False, checkout: Path = CHECKOUT) -> None:
        self.places = Places(name, checkout)
        self.owned = owned
        self.hosts: dict[str, Host] = {}
        if about := _about(self.places):
            self._know([HostPlan(**_tuples(plan)) for plan in about["hosts"]])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.down()

    @property
    def name(self) -> str:
        return self.places.name

    @property
    def folder(self) -> Path:
        """Key, known_hosts, ssh_config, environment, logs."""
        return self.places.folder

    def _know(self, wanted: Iterable[HostPlan]) -> None:
        """Gives each its address: the same for the same plans, every time."""
        hosts: dict[str, Host] = {}
        for plan in wanted:
            if plan.name in hosts:
                raise LabError(f"two hosts are named {plan.name}")
            number = sum(host.plan.nat == plan.nat for host in hosts.values())
            if number == lab_network.HOSTS:
                raise LabError(f"a lab has {lab_network.HOSTS} hosts of a kind at most")
            address, public = lab_network.addresses(number, nat=plan.nat)
            hosts[plan.name] = Host(self.places, plan, address, public)
        self.hosts = hosts

    def up(self, wanted: Sequence[HostPlan] = THREE, say: lab_image.Say = lab_image.to_stderr) -> None:
        """Makes the hosts and returns when each is booted, answers by ssh, and runs what its plan says.

        What is left of an earlier lab of this name is removed first. What fails is removed again.

        Raises:
            LabError: it is not possible here, or another process still uses a lab of this name.
        """
        if reason := obstacle():
            raise LabError(reason)
        image = lab_image.ensure(say)
        with lab_namespaces.one_at_a_time():
            if self.used_by() not in {0, os.getpid()}:
                raise LabError(
                    f"the lab {self.name} is used by process {self.used_by()}. Next: take another name, or wait"
                )
            left = self._remove()
            try:
                self._found(wanted, image)
            except BaseException:
                self._remove()
                raise
        shutil.rmtree(left, ignore_errors=True)
        try:
            self._furnish(image)
        except BaseException as error:
            self._tell_trouble(error)
            self.down()
            raise

    def _found(self, wanted: Iterable[HostPlan], image: Path) -> None:
        """From here on the lab is there for others to see, use and remove."""
        self._know(wanted)
        lab_access.write(self.places, self.hosts)
        lab_namespaces.make(self.places, self.hosts, self.folder / "hosts")
        self._remember(image)

    def _furnish(self, image: Path) -> None:
        """Cables, then hosts, side by side."""
        lab_network.make(self.places, self.hosts.values())
        self.places.storage.mkdir(parents=True)
        lab_podman.configure(self.places, image)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            keys = list(pool.map(self._start, self.hosts.values()))
        lab_access.write_known_hosts(self.places, self.hosts, keys)

    def _tell_trouble(self, error: BaseException) -> None:
        """Gives the error what the hosts know of it, before they are gone."""
        with contextlib.suppress(LabError):
            error.add_note(self.trouble())

    def used_by(self) -> int:
        """The process with which the lab shall end, while it runs; 0 if there is none."""
        owner = _about(self.places).get("owner")
        pid = int(owner.split()[0]) if owner else 0
        return pid if pid and _process(pid) == owner else 0

    def _remember(self, image: Path) -> None:
        """For processes that did not make this lab."""
        about = {
            "name": self.name, "checkout": str(self.places.checkout), "image": str(image),
            "storage": str(self.places.storage), "owner": _process(os.getpid()) if self.owned else "",
            "hosts": [asdict(host.plan) for host in self.hosts.values()],
        }  # fmt: skip
        part = self.places.about.with_suffix(".part")
        part.write_text(json.dumps(about, indent=1))
        part.rename(self.places.about)

    def _start(self, host: Host) -> str:
        """Boots one host and makes it what its plan says; returns its key."""
        log = self.folder / "logs" / f"{host.name}.log"
        host.start(lab_access.names(self.hosts), log)
        host.await_running()
        host.write("/root/.ssh/authorized_keys", (self.folder / "id_ed25519.pub").read_bytes(), 0o600)
        if host.plan.tahoe:
            lab_tahoe.make(host)
        return host.host_key()

    def down(self) -> None:
        """Removes the lab: hosts, networks, mounts, control group, and whatever runs in it. Its folder with the logs stays."""
        with lab_namespaces.one_at_a_time():
            left = self._remove()
        shutil.rmtree(left, ignore_errors=True)

    def _remove(self) -> Path:
        """Returns the folder of what hosts wrote, under another name: to remove it takes long, and others wait."""
        about = _about(self.places)
        lab_namespaces.unmake(self.places)
        self.hosts = {}
        storage = Path(about["storage"]) if about else self.places.storage
        left = storage.with_name(f"{storage.name}.left-{time.time_ns()}")
        with contextlib.suppress(FileNotFoundError):
            storage.rename(left)
        return left

    def run(self, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs `command` as the controller, in the lab's network; `options` are those of subprocess.run."""
        check = options.pop("check", False)
        return subprocess.run(**self._inside(command, options), check=check)

    def popen(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Starts `command` as the controller, in the lab's network; `options` are those of subprocess.Popen."""
        return subprocess.Popen(**self._inside(command, options))

    def _inside(self, command: Sequence[str | Path], options: dict[str, Any]) -> dict[str, Any]:
        """`options` with the command, and with what it needs to run inside instead."""
        if not self.places.about.exists():
            raise LabError(f"the lab {self.name} is not up. Next: python tests/lab up --name {self.name}")
        folder = Path(options.pop("cwd", None) or Path.cwd()).absolute()
        environment = {**(options.pop("env", None) or os.environ), **lab_access.variables(self.places)}
        return {**options, "args": [*self.places.inside(folder), *map(str, command)], "env": environment}

    def environment(self) -> dict[str, str]:
        """This process's environment with LAE_LAB, the lab's folder, which inventory/lab asks for."""
        return {**os.environ, **lab_access.variables(self.places)}

    def ssh(self, host: str, *command: str) -> list[str]:
        """The command for `run` that logs in at `host`, or runs `command` there."""
        return ["ssh", "-F", str(self.folder / "ssh_config"), host, *command]

    def trouble(self) -> str:
        """The journals of all units that failed, host by host; empty if none did."""
        return "\n".join(told for host in self.hosts.values() if (told := host.trouble()))


def _tuples(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plan.items()}


def _about(places: Places) -> dict[str, Any]:
    try:
        return json.loads(places.about.read_text())
    except FileNotFoundError:
        return {}


def _process(pid: int) -> str:
    """The process and when it started, since numbers come back; empty if there is none."""
    try:
        return f"{pid} {Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    except OSError:
        return ""


def labs() -> list[Lab]:
    """Every lab that is up on this machine, of whichever checkout."""
    with lab_namespaces.one_at_a_time():
        abouts = [json.loads(path.read_text()) for path in sorted(RUN.glob("*/about.json"))]
    return [Lab(about["name"], checkout=Path(about["checkout"])) for about in abouts]


def remove_orphans() -> None:
    """Takes down what nobody will: labs whose process is no more, what hosts wrote that a reboot left, and logs of old."""
    for lab in labs():
        if _about(lab.places).get("owner") and not lab.used_by():
            lab.down()
    with lab_namespaces.one_at_a_time():
        left = [folder for folder in (cache() / "labs").glob("lae-*") if not (RUN / folder.name).exists()]
    up_now = {lab.folder for lab in labs()}
    for folder in Places("any").folder.parent.glob("*"):
        if folder not in up_now and folder.stat().st_mtime < time.time() - LOGS:
            left.append(folder)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)  # another process may remove it as well

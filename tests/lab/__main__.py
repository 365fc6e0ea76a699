"""The lab by hand: real hosts with systemd, sshd and addresses of their own, to try playbooks and failures on.

    python tests/lab up                       monitor1 behind address translation, node1 and node2 with Tahoe-LAFS
    python tests/lab ssh node1                look around
    python tests/lab run -- COMMAND ...       as the controller, inside the lab's network: ansible-playbook, curl, bash
    python tests/lab cut node1                a partition; `heal` ends it
    python tests/lab down                     nothing is left

It wants root, and the Python of the virtual environment: make setup.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import lab_image
import lab_tree
from lab import Host, Lab, LabError, labs, obstacle, plans, remove_orphans
from lab_network import HOSTS
from lab_places import CHECKOUT

CANNOT = 69  # EX_UNAVAILABLE, as lae-monitor itself says it


def _program() -> str:
    """As whoever reads it can type it again."""
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{shown} {os.path.relpath(Path(__file__).parent)}"


def _host(lab: Lab, name: str) -> Host:
    if not lab.hosts:
        raise LabError(f"the lab {lab.name} is not up. Next: {_program()} up --name {lab.name}")
    if name not in lab.hosts:
        raise LabError(f"the lab {lab.name} has no host {name}; it has {', '.join(lab.hosts)}")
    return lab.hosts[name]


def image(_arguments: argparse.Namespace) -> int:
    if not lab_image.is_made() and (reason := obstacle()):
        raise LabError(reason)
    print(f"The image is in {lab_image.ensure()}; its name there is {lab_tree.REFERENCE}.")
    return 0


def up(arguments: argparse.Namespace) -> int:
    remove_orphans()
    lab = Lab(arguments.name)
    began = time.monotonic()
    lab.up(plans(arguments.hosts))
    print(f"The lab {lab.name} is up in {time.monotonic() - began:.0f} s. Its folder is {lab.folder}.")
    _tell(lab)
    named = "" if lab.name == "default" else f" --name {lab.name}"
    run = f"{_program()} run{named} --"
    print("\nTo try next:")
    for command, what in (
        (f"{_program()} ssh{named} {list(lab.hosts)[-1]}", "log in as root"),
        (f"{run} .venv/bin/ansible -i inventory/lab/hosts.yml all -m ping", "as Ansible sees it"),
        (f"{run} .venv/bin/ansible-playbook -i inventory/lab/hosts.yml playbooks/site.yml", "deploy"),
        (f"{_program()} exec{named} monitor1 -- systemctl --failed", "as if you sat before it"),
        (f"{_program()} cut{named} {list(lab.hosts)[-1]}", "a partition; heal ends it"),
        (f"{_program()} down{named}", "when you are done"),
    ):
        print(f"  {command}\n      {what}")
    return 0


def _tell(lab: Lab) -> None:
    """One line for each host."""
    for host in lab.hosts.values():
        what = [] if host.is_running() else ["does not run"]
        if host.plan.nat:
            names = ", ".join((host.name, *host.plan.names))
            ports = ", ".join(map(str, host.plan.ports)) or "none"
            what.append(f"the others reach it as {names} at {host.public_address}, TCP ports {ports} only")
        if host.plan.tahoe:
            what.append("Tahoe-LAFS storage server and introducer")
        print(f"  {host.name:12}{host.address:14}{'; '.join(what)}")


def status(_arguments: argparse.Namespace) -> int:
    up_now = labs()
    for lab in up_now:
        user = lab.used_by()
        print(f"{lab.name}, of {lab.places.checkout}" + (f", used by process {user}" if user else ""))
        _tell(lab)
    if not up_now:
        print(f"No lab is up. Next: {_program()} up")
    return 0


def execute(arguments: argparse.Namespace) -> int:
    host = _host(Lab(arguments.name), arguments.host)
    options = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    return subprocess.run(host.entering(arguments.command or ["bash", "-l"], *options), check=False).returncode


def ssh(arguments: argparse.Namespace) -> int:
    lab = Lab(arguments.name)
    return lab.run(lab.ssh(_host(lab, arguments.host).name, *arguments.command)).returncode


def cut(arguments: argparse.Namespace) -> int:
    host = _host(Lab(arguments.name), arguments.host)
    host.cut()
    print(f"{host.name} is off the network. `exec` still reaches it; `heal` ends it.")
    return 0


def heal(arguments: argparse.Namespace) -> int:
    host = _host(Lab(arguments.name), arguments.host)
    host.heal()
    print(f"{host.name} is on the network again and answers.")
    return 0


def restart(arguments: argparse.Namespace) -> int:
    host = _host(Lab(arguments.name), arguments.host)
    host.restart()
    print(f"{host.name} has shut down, booted and runs.")
    return 0


def run(arguments: argparse.Namespace) -> int:
    return Lab(arguments.name).run(arguments.command or ["bash"]).returncode


def down(arguments: argparse.Namespace) -> int:
    if not arguments.all:
        _take_down(Lab(arguments.lab or arguments.name))
        return 0
    chosen = [lab for lab in labs() if lab.places.checkout == CHECKOUT or not lab.places.checkout.exists()]
    for lab in chosen:
        if user := lab.used_by():
            print(f"The lab {lab.name} is used by process {user}. If that is no reason: {_program()} down {lab.name}")
        else:
            _take_down(lab)
    if not chosen:
        print("No lab of this checkout is up.")
    remove_orphans()
    return 0


def _take_down(lab: Lab) -> None:
    """Also when it does not look up: what is left of it may be less than that."""
    was_up = bool(lab.hosts)
    lab.down()
    print(f"The lab {lab.name} {'is down' if was_up else 'was not up'}.")


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HOSTS:
        raise argparse.ArgumentTypeError(f"1 to {HOSTS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python tests/lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name, function, text, *, host=False, words=None):
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(function=function)
        one.add_argument("--name", default="default", help="which lab (default: %(default)s)")
        if host:
            one.add_argument("host", metavar="HOST")
        if words:
            one.add_argument("command", metavar="COMMAND", nargs="*", help=words)
        return one

    command("image", image, "Make the image of the hosts, if it is not there")
    one = command("up", up, "Make a lab, and say how to use it; one of the same name is removed first")
    one.add_argument(
        "--hosts",
        type=_number,
        default=3,
        metavar="N",
        help="how many: monitor1 and nodes (default: %(default)s)",
    )
    command("status", status, "The labs of this machine and their hosts")
    command("exec", execute, "Run a command on a host, not over its network", host=True, words="default: a shell")
    command("ssh", ssh, "Log in at a host, over its network", host=True, words="a command, instead of a shell")
    command("cut", cut, "Take a host off the network: what is sent to it is lost", host=True)
    command("heal", heal, "Put it back", host=True)
    command("restart", restart, "Shut a host down and boot it; returns when it runs", host=True)
    command("run", run, "Run a command as the controller, inside the lab's network", words="default: a shell")
    one = command("down", down, "Remove a lab, and all that runs in it; also one whose maker died")
    one.add_argument("lab", metavar="NAME", nargs="?", help="which lab, as --name")
    one.add_argument("--all", action="store_true", help="every lab of this checkout that no running test uses")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return arguments.function(arguments)
    except LabError as error:
        print(f"lab: {error}", *getattr(error, "__notes__", []), sep="\n", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

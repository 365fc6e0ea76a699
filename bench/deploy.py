"""How long `ansible-playbook playbooks/site.yml` takes on three real hosts: from nothing, unchanged, looking only.

The hosts are the lab's (tests/lab), so this needs root and podman. Seconds depend on the machine; the ratio to Ansible's
own ping, measured beside them, does so less.
"""

import os
import re
import subprocess
import sys
import time

from bench.figures import ROOT, Figure, at_most

sys.path.insert(0, str(ROOT / "tests" / "lab"))

AIM_SECOND_RUN = 15.0  # s a host
TURNS = 3  # runs of a kind; the median counts
BIN = ROOT / ".venv" / "bin"
INVENTORY = ("-i", "inventory/lab/hosts.yml")


def run() -> list[Figure]:
    from lab import Lab  # noqa: PLC0415 - needs the path above

    subprocess.run([sys.executable, ROOT / "requirements" / "wheelhouse.py"], check=True, capture_output=True)
    with Lab(f"bench-{os.getpid()}", owned=True) as lab:
        up = _seconds(lambda: lab.up(say=lambda _text: None))
        hosts = len(lab.hosts)
        ping = _median(lambda: _ansible(lab, "ansible", *INVENTORY, "all", "-m", "ansible.builtin.ping"))
        first = _seconds(lambda: _play(lab))
        seconds = []
        for _ in range(TURNS):
            changed = {}
            seconds.append(_seconds(lambda changed=changed: changed.update(_changed(_play(lab)))))
            if any(changed.values()):
                raise RuntimeError(f"a run again changed something: {changed}")
        second = sorted(seconds)[TURNS // 2]
        check = _seconds(lambda: _play(lab, "--check", "--diff"))
        verify = _seconds(lambda: _ansible(lab, "ansible-playbook", *INVENTORY, "playbooks/verify.yml"))
    return [
        Figure(f"lab of {hosts} hosts, with Tahoe-LAFS, up", up, "s"),
        Figure("ansible -m ping, all hosts, median", ping, "s"),
        Figure("first run, from nothing", first, "s"),
        Figure("second run, nothing to do, median", second, "s", note=f"{second / ping:.1f} x ping"),
        at_most("second run, a host", second / hosts, AIM_SECOND_RUN, "s"),
        Figure("--check --diff", check, "s"),
        Figure("verify.yml", verify, "s"),
    ]


def _play(lab, *options):
    return _ansible(lab, "ansible-playbook", *INVENTORY, "playbooks/site.yml", *options)


def _ansible(lab, program, *arguments):
    done = lab.run([BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-1000:]}")
    return done.stdout


def _changed(said):
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", said, re.MULTILINE)}


def _seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _median(work) -> float:
    return sorted(_seconds(work) for _ in range(TURNS))[TURNS // 2]

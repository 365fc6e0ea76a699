"""What runs on a pretend host at a time. Pure.

Nodes of the grid run their servers all the time; nodes that compute run jobs that come and go, by chance.
"""

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from lae_monitor.core.time import HOUR, MINUTE
from lae_monitor.demo.hosts import HOSTS, SICK, Host
from lae_monitor.demo.story import Story

SERVER: Final = "gridstored"  # the storage server's program, the one that crashes
WARM_UP: Final = 10 * MINUTE  # from a job's start until it uses the memory it needs
LOOK_BACK: Final = 4 * HOUR  # jobs that run when the history begins have begun before
FIRST_JOB: Final = 1_300_000


class Process(NamedTuple):
    """One process, or a group rolled up into one; `rolled_up` others are in it."""

    user: str
    cmd: str
    job: int
    pid: int
    began: float
    cpu: float  # %, 100 is one core
    mean: float  # % over all its life: its processor time has to grow evenly, whatever `cpu` is just now
    gib: float
    gpus: str = "none"
    gpu: float = 0.0  # %, 100 is one card
    rolled_up: int = 0


class Program(NamedTuple):
    """What jobs run: how much of everything one of them takes at most."""

    user: str
    cmd: str
    cores: int
    gib: float
    gpus: str = "none"
    processes: int = 1


COMPUTE: Final = (
    Program("ec-anna", "gmx_mpi", 32, 14.0, processes=32),
    Program("ec-bjarne", "R", 1, 21.5),
    Program("ec-chen", "orca_mp2_mpi", 16, 96.0, processes=16),
    Program("ec-dilara", "python3", 8, 33.0, processes=9),
    Program("ec-edith", "MATLAB", 4, 11.2),
)
GPU: Final = (
    Program("fatima", "python3", 6, 41.0, gpus="0"),
    Program("george", "python3", 12, 88.0, gpus="0,1", processes=13),
    Program("hana", "julia", 4, 9.4, gpus="1"),
    Program("ivar", "python3", 3, 17.0, gpus="2"),
)
SLOTS: Final = {"compute": 3, "gpu": 2}  # jobs at a time


def running(story: Story, host: Host, time: float) -> list[Process]:
    """The processes of `host` at `time`; none on a node that has nothing to do."""
    if host.work == "storage":
        return _server(story, host, time)
    if host.work == "gateway":
        return _gateway(story, host, time)
    programs = GPU if host.work == "gpu" else COMPUTE
    return [
        process for slot in range(SLOTS[host.work]) if (process := _job(story, host, slot, programs, time)) is not None
    ]


def _server(story: Story, host: Host, time: float) -> list[Process]:
    dice = story.dice("server", host.name, story.elapsed(time))
    booted = story.begins - (20 + host.number) * 24 * HOUR
    if host != SICK:
        gib = 0.7 + 0.1 * dice.random()
        return [Process("tahoe", SERVER, 811, 811, booted, 6 + 6 * dice.random(), 9.0, gib), _borg(dice, booted)]
    restarts = story.restarts(time)
    began = story.crashes[restarts - 1] if restarts else booted
    pid = 811 + 4013 * restarts
    gib = story.server_gib(time)
    found = [Process("tahoe", SERVER, pid, pid, began, 9 + 25 * gib, 75.0, gib), _borg(dice, booted)]
    if restarts:  # its parent has not yet noticed that the one before is dead
        before = 811 + 4013 * (restarts - 1)
        found.append(Process(f"_zombie_{before}", f"{SERVER} <defunct>", before, before, began, 0.0, 0.0, 0.0))
    return found


def _borg(dice: random.Random, booted: float) -> Process:
    return Process("backup", "borg", 1207, 1207, booted, 1 + 3 * dice.random(), 2.5, 0.21)


def _gateway(story: Story, host: Host, time: float) -> list[Process]:
    dice = story.dice("gateway", host.name, story.elapsed(time))
    booted = story.begins - 6 * 24 * HOUR
    return [
        Process("tahoe", "tahoe", 702, 702, booted, 4 + 9 * dice.random(), 8.5, 0.38 + 0.05 * dice.random()),
        Process(
            "maria", "gridbrowser", 2280, 2280, booted + HOUR, 12 + 30 * dice.random(), 27.0, 1.4 + 0.4 * dice.random()
        ),
    ]


class _Job(NamedTuple):
    number: int
    program: Program
    begins: float
    ends: float


def _job(story: Story, host: Host, slot: int, programs: tuple[Program, ...], time: float) -> Process | None:
    job = next((job for job in _jobs(story, host, slot, programs) if job.ends > time), None)
    if job is None or job.begins > time:
        return None
    dice = story.dice("job", job.number, story.elapsed(time))
    program = job.program
    on_gpu = program.gpus != "none"
    cards = program.gpus.count(",") + 1 if on_gpu else 0
    return Process(
        user=program.user,
        cmd=program.cmd,
        job=job.number,
        pid=job.number % 32_000 + 400 if program.processes == 1 else 0,
        began=job.begins,
        cpu=100 * program.cores * (0.82 + 0.16 * dice.random()),
        mean=100 * program.cores * 0.9,
        gib=program.gib * min(1.0, (time - job.begins) / WARM_UP + 0.1),
        gpus=program.gpus,
        gpu=100 * cards * (0.7 + 0.28 * dice.random()) if on_gpu else 0.0,
        rolled_up=program.processes - 1,
    )


def _jobs(story: Story, host: Host, slot: int, programs: tuple[Program, ...]) -> Iterator[_Job]:
    """The jobs of one slot, one after the other with pauses between them, without end."""
    dice = story.dice("jobs", host.name, slot)
    number = FIRST_JOB + (host.number * 8 + slot) * 10_000
    time = story.begins - LOOK_BACK
    while True:
        begins = time + dice.uniform(1, 25) * MINUTE
        time = begins + dice.uniform(25, 200) * MINUTE
        number += dice.randrange(1, 60)
        yield _Job(number, dice.choice(programs), begins, time)


assert {host.work for host in HOSTS} == {"storage", "gateway", *SLOTS}

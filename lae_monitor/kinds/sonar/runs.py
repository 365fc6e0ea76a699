"""One run of Sonar on one host, as one mark on its timeline.

A run's records have the same host and time and lie side by side. A run that was sent again has the same key, so it shows
once.
"""

from heapq import nlargest
from typing import Final, NamedTuple

from lae_monitor.core.limits import KiB, format_size
from lae_monitor.core.names import row_key
from lae_monitor.core.rows import Event, Sample

TOP: Final = 5  # processes that the text names
MAX_WORD: Final = 80  # characters of a command or user in the text

# Users that Sonar makes up: they are nobody.
_NO_USERS: Final = ("_zombie_", "_noinfo_", "_user_", "_unknown_", "_sonar_")


def is_zombie(sample: Sample) -> bool:
    """A process that is dead and not yet reaped, by sonalyze's rule."""
    return "<defunct>" in sample.cmd or sample.user.startswith("_zombie_")


class Run:
    """The run that begins with the record `first`."""

    def __init__(self, first: Sample) -> None:
        self._first = first
        self._end = 0
        self._samples: dict[bytes, Sample] = {}  # by key: a line that was sent again counts once
        self.add(first)

    def has(self, sample: Sample) -> bool:
        """Whether `sample` is of this run."""
        return sample.time == self._first.time and sample.host == self._first.host

    def add(self, sample: Sample) -> None:
        self._samples.setdefault(sample.key, sample)
        self._end = sample.offset + sample.length

    def event(self) -> Event:
        """The mark: how many processes, of whom, what they use, and what is wrong."""
        first = self._first
        processes = [sample for sample in self._samples.values() if not sample.heartbeat]
        total = _total(processes)
        return Event(
            kind="sonar",
            cluster=first.cluster,
            host=first.host,
            time=first.time,
            received=0.0,
            id=f"{first.file}:{first.offset}",
            key=row_key("sonar", first.cluster, first.host, first.time, *sorted(key.hex() for key in self._samples)),
            level="debug" if not processes else "warning" if total.zombies or total.gpu_failed else "info",
            title=total.title() if processes else "heartbeat",
            text="\n".join(map(_describe, nlargest(TOP, processes, key=_weight))),
            attrs={"version": first.version} | (total.attrs() if processes else {}),
            file=first.file,
            offset=first.offset,
            length=self._end - first.offset,
        )


class _Total(NamedTuple):
    """What the processes of a run use together."""

    processes: int  # those that were rolled up count, too
    users: int
    cpu: float  # %, 100 is one core; each process's average since it began
    memory: int  # bytes
    zombies: int
    gpu_failed: bool

    def title(self) -> str:
        title = (
            f"{_count(self.processes, 'process', 'processes')} of {_count(self.users, 'user', 'users')}, "
            f"{self.cpu:.0f} % CPU, {format_size(self.memory)}"
        )
        if self.zombies:
            title += f", {_count(self.zombies, 'zombie', 'zombies')}"
        return title + (", a GPU failed" if self.gpu_failed else "")

    def attrs(self) -> dict[str, str]:
        return {
            "processes": str(self.processes),
            "users": str(self.users),
            "cpu": f"{self.cpu:.1f}",
            "memory": str(self.memory),
            "zombies": str(self.zombies),
            "gpu_failed": "yes" if self.gpu_failed else "no",
        }


def _total(processes: list[Sample]) -> _Total:
    return _Total(
        processes=sum(sample.rolledup + 1 for sample in processes),
        users=len({sample.user for sample in processes if not sample.user.startswith(_NO_USERS)}),
        cpu=sum(sample.cpu_avg for sample in processes),
        memory=sum(map(_memory, processes)),
        zombies=sum(map(is_zombie, processes)),
        gpu_failed=any(sample.gpu_fail for sample in processes),
    )


def _memory(sample: Sample) -> int:
    """Bytes: what is resident, or the virtual size for versions before 0.8, which knew no other."""
    return (sample.resident_kib or sample.virtual_kib) * KiB


def _weight(sample: Sample) -> tuple[float, int]:
    return sample.cpu_avg, _memory(sample)


def _describe(sample: Sample) -> str:
    """`ec-aaa python3 (256 processes): 51 % CPU, 70.8 GiB, job 1351930, GPUs 0,1`."""
    rolled = f" ({sample.rolledup + 1} processes)" if sample.rolledup else ""
    parts = [f"{sample.cpu_avg:.0f} % CPU", format_size(_memory(sample))]
    if sample.job:
        parts.append(f"job {sample.job}")
    if sample.gpus not in {"none", "unknown"}:
        parts.append(f"GPUs {sample.gpus}")
    return f"{sample.user[:MAX_WORD]} {sample.cmd[:MAX_WORD]}{rolled}: {', '.join(parts)}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

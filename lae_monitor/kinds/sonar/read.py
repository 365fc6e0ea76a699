"""Sample files of the archive -> samples, a mark on the host's timeline for each run of Sonar, and what could not be read.

Only `sonar/<cluster>/<YYYY>/<MM>/<DD>/<host>.csv`; what else lies in such a tree yields nothing here.
"""

import re
from collections.abc import Iterator
from heapq import nlargest
from typing import Final, NamedTuple

from lae_monitor.core.limits import MAX_SPAN, KiB, format_size
from lae_monitor.core.names import ClusterName, row_key
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.rows import Event, Receipt, Row, Span, cut_lines
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.sonar.free_csv import FOLDER, host_of_file
from lae_monitor.kinds.sonar.records import Place, parse
from lae_monitor.kinds.sonar.rows import Sample

VERSION: Final = 1  # goes up when the same bytes give other rows
WHOLE: Final = False

_PATH: Final = re.compile(rf"{FOLDER}/([^/]+)/([0-9]{{4}})/([0-9]{{2}})/([0-9]{{2}})/([^/]+)", re.ASCII)


def cut(path: str, data: bytes) -> int:
    """How many bytes of `data` are whole records; where more follows, whole runs, so that a run stays one mark."""
    if not _host(path):
        return len(data)  # nothing is read from it, so there is nothing to wait for
    end = cut_lines(data)
    if len(data) < MAX_SPAN:
        return end
    return _start_of_last_run(data, end) or end


def read(span: Span, data: bytes) -> Iterator[Row]:
    """The rows in `data`, the bytes of `span`; a line that is no record becomes a receipt that says so.

    Raises:
        Refused: `unreadable`, when the path's cluster or day cannot be one.
    """
    if not _host(span.path):
        return
    place, day = _place(span.path)
    run: Run | None = None
    offset, end = span.start, span.start + len(data)
    for line in data.split(b"\n"):
        length = min(len(line) + 1, end - offset)
        if line and not line.isspace():
            try:
                sample = parse(line, place, offset, length)
            except Refused as refused:
                yield _unreadable(line, place, day, offset, length, refused.detail)
            else:
                if run is not None and run.has(sample):
                    run.add(sample)
                else:
                    if run is not None:
                        yield run.event()
                    run = Run(sample)
                yield sample
        offset += length
    if run is not None:
        yield run.event()


def _host(path: str) -> str:
    """The host whose samples are in `path`; empty when no samples are there."""
    found = _PATH.fullmatch(path)
    return host_of_file(found[5]) if found else ""


def _place(path: str) -> tuple[Place, float]:
    """What the path of a file of samples says: cluster, host, and the day in seconds."""
    _, cluster, year, month, day, _ = path.split("/")
    try:
        return Place(path, ClusterName(cluster), _host(path)), parse_time(f"{year}-{month}-{day}")
    except Refused as refused:
        raise Refused("unreadable", f"{path}: {refused}") from None


def _start_of_last_run(data: bytes, end: int) -> int:
    """Where the records begin that share host and time with the last one before `end`; 0 when all of them do."""
    nowhere = Place("", ClusterName("nowhere"), "nowhere")
    last: Run | None = None
    start = end
    while end > 0:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        try:
            sample = parse(data[begin : end - 1], nowhere, 0, 0)
        except Refused:
            end = begin
            continue
        if last is not None and not last.has(sample):
            return start
        last = last or Run(sample)
        start = end = begin
    return 0


def _unreadable(line: bytes, place: Place, day: float, offset: int, length: int, why: str) -> Receipt:
    return Receipt(
        kind="sonar",
        cluster=place.cluster,
        host=place.host,
        time=day,
        peer="",
        verdict="quarantined",
        reason="unreadable",
        detail=f"{why}; the line: {shorten(line.decode('utf-8', 'replace'))}",
        id=f"{place.file}:{offset}",
        size=len(line),
        file=place.file,
        offset=offset,
        length=length,
    )


# One run of Sonar on one host, as one mark on its timeline.
#
# A run's records have the same host and time and lie side by side. A run that was sent again has the same key, so it shows
# once.
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

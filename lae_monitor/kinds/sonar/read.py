"""Sample files of the archive -> samples, a mark on the host's timeline for each run of Sonar, and what could not be read.

Only `sonar/<cluster>/<YYYY>/<MM>/<DD>/<host>.csv`; what else lies in such a tree yields nothing here.
"""

import re
from collections.abc import Iterator
from typing import Final

from lae_monitor.core.limits import MAX_SPAN
from lae_monitor.core.names import ClusterName
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.rows import Receipt, Row, Span, cut_lines
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.sonar.free_csv import FOLDER, host_of_file
from lae_monitor.kinds.sonar.records import Place, parse
from lae_monitor.kinds.sonar.runs import Run

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

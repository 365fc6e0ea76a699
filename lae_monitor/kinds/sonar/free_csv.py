"""Free CSV: a line per process, of `name=value` fields in any order; a field with a comma is quoted as a whole.

Nothing of a post is handed out before every line of it was checked, and each goes, as it came, to the one file that its
host and its UTC day name. Source of the format: `sonar ps`, see docs/sonar.md#free-csv.
"""

import re
from collections.abc import Iterator
from typing import Final

from lae_monitor.core.limits import KiB
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, MAX_AHEAD, day_path, parse_time

FOLDER: Final = "sonar"
MAX_LINE: Final = 64 * KiB  # bytes without the newline; real ones have 150-600, infiltrate drops longer ones silently
TURN: Final = 64 * KiB  # bytes that are checked before other requests get their turn: a few milliseconds
MAX_FILES: Final = 256  # hosts times days in one post; a node sends one, a relay that catches up sends dozens
MAX_AGE: Final = 3653 * DAY  # seconds, ten years: Sonar is younger

# What lies beside the samples in trees of Jobanalyzer under such names holds something else.
_NOT_SAMPLES: Final = frozenset({"bughunt", "cpuhog", "slurm-sacct"})
_NUMBER: Final = re.compile(r"\.[0-9]{15,20}")  # of a file that the archive had to begin beside another: nanoseconds
_PLAIN_LINES: Final = re.compile(rb'(?:[^",=\n]*+=[^",\n]*+[,\n])*+(?<=\n)')
_PLAIN: Final = re.compile(rb'(?:[^",=]*+=[^",]*+,)*+[^",=]*+=[^",]*+')  # fields of which none is quoted
_FIELD: Final = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",]*+))(,|\Z)')


def host_of_file(name: str) -> str:
    """The host whose samples are in the file `name` of a day's folder; empty when it holds no samples."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or suffix != "csv":
        return ""
    plain, dot, number = stem.rpartition(".")
    if _NUMBER.fullmatch(dot + number):
        stem = plain
    return "" if stem in _NOT_SAMPLES else stem


def split_fields(line: str) -> list[str]:
    """The fields of one line without its newline, unquoted.

    Raises:
        Refused: `sonar_bad_content`, a quote that does not enclose a whole field.
    """
    if '"' not in line:
        return line.split(",")
    fields = []
    position = 0
    while True:
        found = _FIELD.match(line, position)
        if found is None:
            raise Refused("sonar_bad_content", "a quote that does not enclose a whole field")
        quoted, plain, comma = found.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        if not comma:
            return fields
        position = found.end()


class Post:
    """The lines of one post, sorted by the file each belongs to.

    Args:
        body: the post as it came.
        cluster: whose samples these are, by the sender's credential.
        now: seconds; a record's time has to be near it.
    """

    def __init__(self, body: bytes, cluster: ClusterName, now: float) -> None:
        self.lines = 0
        self._body = body
        self._cluster = cluster
        self._earliest = now - MAX_AGE
        self._latest = now + MAX_AHEAD
        self._position = 0
        self._number = 0  # of the line, for people: from 1
        self._pieces: dict[str, list[tuple[int, int]]] = {}
        self._paths: dict[tuple[str, str], str] = {}
        self._beginning = b""  # of the last line that was taken apart, to the comma after its host and time
        self._path_of_beginning = ""

    def check(self) -> Iterator[None]:
        """Checks every line; stops after each TURN bytes, so that a large post does not keep others waiting.

        Raises:
            Refused: `sonar_bad_content`, `sonar_line_too_long`, `sonar_too_many_files`, `bad_host_name`, `bad_time`,
                `time_out_of_range`; the detail begins with the number of the line.
        """
        size = len(self._body)
        turn = TURN
        while self._position < size:
            start = self._position
            if start > turn:
                yield
                turn = start + TURN
            newline = self._body.find(b"\n", start)
            self._position = size if newline < 0 else newline + 1
            self._number += 1
            try:
                self._take(start, size if newline < 0 else newline)
            except Refused as refused:
                raise Refused(refused.code, f"line {self._number}: {refused.detail}") from None
            if self._number == 1:
                self._take_all_alike()

    def _take_all_alike(self) -> None:
        """Takes the rest of a post whose lines all begin as the first: a run of Sonar is such a post."""
        body, start, beginning = self._body, self._position, self._beginning
        if not beginning or len(body) - start > MAX_LINE:
            return
        lines = body.count(b"\n", start)
        if (
            body.startswith(beginning, start)
            and body.count(b"\n" + beginning, start) == lines - 1
            and all(body.count(word, start) == lines * beginning.count(word) for word in (b"time=", b"host="))
            and _PLAIN_LINES.fullmatch(body, start)
        ):
            (first,) = self._pieces[self._path_of_beginning]
            self._pieces[self._path_of_beginning] = [(first[0], len(body))]
            self._position = len(body)
            self.lines += lines

    def _take(self, start: int, end: int) -> None:
        if end - start > MAX_LINE:
            raise Refused("sonar_line_too_long", f"{end - start} bytes, the limit is {MAX_LINE}")
        path = self._path_of_beginning if self._begins_alike(start, end) else self._taken_apart(start, end)
        if not path:
            return
        pieces = self._pieces.setdefault(path, [])
        if len(self._pieces) > MAX_FILES:
            raise Refused("sonar_too_many_files", f"the limit is {MAX_FILES}")
        if pieces and pieces[-1][1] == start:
            pieces[-1] = (pieces[-1][0], self._position)
        else:
            pieces.append((start, self._position))
        self.lines += 1

    def _begins_alike(self, start: int, end: int) -> bool:
        """Whether the line has the host and time of the one before, where that one has them, and is otherwise plain.

        A run of Sonar is hundreds of such lines; to take each apart is a quarter of what a post costs.
        """
        body, rest = self._body, start + len(self._beginning)
        return (
            self._beginning != b""
            and body.startswith(self._beginning, start, end)
            and _PLAIN.fullmatch(body, rest, end) is not None
            and body.find(b"time=", rest, end) < 0
            and body.find(b"host=", rest, end) < 0
        )

    def _taken_apart(self, start: int, end: int) -> str:
        """The file that the line belongs to; "" for a blank one."""
        raw = self._body[start:end]
        line = raw.decode("utf-8", "replace")
        if not line or line.isspace():
            return ""
        path = self._file_of(line.removesuffix("\r"))
        if b'"' not in raw:
            fields = raw.split(b",")
            last = max(number for number, field in enumerate(fields) if field.startswith((b"host=", b"time=")))
            self._beginning = b",".join([*fields[: last + 1], b""]) if last + 1 < len(fields) else b""
            self._path_of_beginning = path
        return path

    def _file_of(self, line: str) -> str:
        fields = split_fields(line)
        try:
            known = dict([field.split("=", 1) for field in fields])
        except ValueError:
            bare = next(field for field in fields if "=" not in field)
            raise Refused("sonar_bad_content", "a field without =:", raw=bare) from None
        host, time = known.get("host", ""), known.get("time", "")
        path = self._paths.get((host, time))
        if path is None:
            path = self._paths[host, time] = self._path(host, time)
        return path

    def _path(self, host: str, time: str) -> str:
        if not host or not time:
            raise Refused("sonar_bad_content", f"no {'time' if host else 'host'}")
        name = HostName(host)
        if host_of_file(f"{name}.csv") != name:
            raise Refused("bad_host_name", "the archive keeps this name for other files:", raw=host)
        seconds = parse_time(time)
        if not self._earliest <= seconds <= self._latest:
            raise Refused("time_out_of_range", raw=time)
        return f"{FOLDER}/{self._cluster}/{day_path(seconds)}/{name}.csv"

    def files(self) -> dict[str, bytes]:
        """What to append to which file, once `check()` has come to its end. The last line gets its newline."""
        return {path: self._joined(pieces) for path, pieces in self._pieces.items()}

    def _joined(self, pieces: list[tuple[int, int]]) -> bytes:
        data = b"".join([self._body[start:end] for start, end in pieces])
        return data if data.endswith(b"\n") else data + b"\n"

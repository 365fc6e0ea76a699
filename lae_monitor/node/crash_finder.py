"""Finds the crashes of this host: minidumps in folders, and core dumps that systemd-coredump recorded in the journal.

Each becomes a report, a file of JSON in --reports, which crash_reporter.py sends. It is written before it is remembered:
none is left out, and one that is found twice has the same name. Only regular files that begin as minidumps do are reported;
no link is followed, nothing is run. Of a core dump: what the journal says; command line and environment if asked for.

Python's library only, for Python 3.7 and newer, and one file: it is copied to hosts that have nothing else of ours.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import socket
import stat
import struct
import subprocess
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

FINE, FINDINGS, UNAVAILABLE, CONFIGURATION = 0, 1, 69, 78  # exit codes; argparse's own is 2
MAX_WAITING = 200  # reports that wait to be sent; beyond, core dumps wait in the journal
MAX_TEXT = 65_536  # bytes of a stack trace, and of an annotation within a dump
MAX_BESIDE = 2_097_152  # bytes of a file of annotations, as the collector takes of one
MAX_ANNOTATIONS = 1000  # of one report
PRODUCTS = ("_productName", "ProductName", "prod", "product", "appName", "application")  # as the collector reads them
STEP = 262_144  # bytes read at a time
OLD = 60.0  # seconds since its last change after which nobody writes a file any more
LOOKS = 3  # at files that are being written, in one run
CRASHPADS_TURN = 3600.0  # seconds that Crashpad itself has to send what is pending, where it may upload
FIRST_LOOK = "--since=-1day"  # of journalctl, where there is no cursor yet
PATIENCE = 60.0  # seconds for dpkg

CORE_DUMPED = "fc2e22bc6ee647b6b90729ab34a250b1"  # MESSAGE_ID of systemd-coredump; systemd's sd-messages.h
CRASHPAD_INFO = 0x43500001  # stream of Crashpad's own; crashpad/minidump/minidump_extensions.h
MAGIC = b"MDMP"
BESIDE = (".extra", ".json", ".txt")  # annotations, by clients of Breakpad and Firefox
# Fields of systemd-coredump(8) that hold nothing private; the others stay on the host.
PUBLIC = (
    "COREDUMP_CGROUP", "COREDUMP_COMM", "COREDUMP_EXE", "COREDUMP_FILENAME", "COREDUMP_GID", "COREDUMP_HOSTNAME",
    "COREDUMP_PID", "COREDUMP_RLIMIT", "COREDUMP_SIGNAL", "COREDUMP_SIGNAL_NAME", "COREDUMP_SLICE", "COREDUMP_TIMESTAMP",
    "COREDUMP_TRUNCATED", "COREDUMP_UID", "COREDUMP_UNIT", "COREDUMP_USER_UNIT",
)  # fmt: skip


class Changing(Exception):
    """A file that is still being written."""


def say(text: str, level: int = 5) -> None:
    """One line; with JOURNAL_STREAM, which systemd sets, its level stands before it, as in sd-daemon(3)."""
    line = re.sub(r"[^ -~]", lambda odd: odd[0].encode("unicode_escape").decode(), text)
    print(f"<{level}>{line}" if "JOURNAL_STREAM" in os.environ else line, file=sys.stderr, flush=True)  # noqa: T201


class Found:
    """What was found already, as found.json of `folder` has it: of each minidump size, time of change in ns, and sha256."""

    def __init__(self, folder: Path, *, dry: bool) -> None:
        self.folder, self._dry = folder, dry
        self.cursor = ""
        self.files: dict[str, list[Any]] = {}
        path = folder / "found.json"
        try:
            told = json.loads(path.read_text())
            self.cursor, self.files = str(told["cursor"]), {name: list(about) for name, about in told["files"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            say(f"{path} cannot be read ({error!r}) and is begun anew: what is still there is reported once more", 4)

    def add(self, name: str, report: dict[str, Any]) -> None:
        """Writes a report, and then that it is there."""
        if self._dry:
            told = report["annotations"]
            say(f"{report.get('dump', 'core dump')}: {told.get('ProductName', '')} {told.get('Version', '')}")
            return
        self._write(self.report_of(name), report)
        self.save()

    def save(self) -> None:
        if not self._dry:
            self._write(self.folder / "found.json", {"cursor": self.cursor, "files": self.files})

    def report_of(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.report"

    def _write(self, path: Path, content: Any) -> None:
        """Makes a file hold `content`, whole or not at all."""
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(content))
        part.replace(path)

    def is_known(self, path: Path, about: os.stat_result) -> bool:
        return self.files.get(str(path), [])[:2] == [about.st_size, about.st_mtime_ns]

    def cannot(self, path: Path, error: OSError) -> int:
        """Says once that a file or folder cannot be reported, and has it tried again; returns an exit code."""
        before = self.files.get(str(path), [])
        if before[:1] != [error.strerror]:
            say(f"{path} cannot be reported: {error.strerror}", 4)
        self.files[str(path)] = [error.strerror, *before[1:]]
        return FINDINGS

    def has_twin(self, path: Path, digest: str) -> bool:
        """Whether it is the same dump elsewhere, whence Crashpad moved it, or before it was touched."""
        return any(about[2:] == [digest] and Path(other).name == path.name for other, about in self.files.items())

    def forget_gone(self, folders: list[Path]) -> None:
        """Lets go of files that are no longer there; those of a folder that cannot be seen at all may come back."""
        seen = {folder for folder in folders if os.path.isdir(str(folder))}  # noqa: PTH112 - never raises
        for path in [Path(path) for path in self.files if seen & set(Path(path).parents)]:
            try:
                path.lstat()
            except OSError as error:
                if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                    del self.files[str(path)]


def look(found: Found, options: argparse.Namespace) -> int:
    """Reports the minidumps of all folders; returns an exit code."""
    worst = FINE
    before: dict[Path, tuple[int, int]] = {}
    for turn in range(LOOKS):
        time.sleep(options.settle if turn else 0)
        changing = False
        places = [place for folder in options.folders for place in places_of(folder)]
        for path in [path for place in places for path in dumps(place, found)]:
            try:
                take(path, found, before, options)
            except Changing:
                changing = True
            except FileNotFoundError:  # Crashpad has moved it meanwhile
                continue
            except OSError as error:
                worst = found.cannot(path, error)
        if not changing:
            break
    return FINDINGS if any(str(place) in found.files for place in places) else worst


def take(path: Path, found: Found, before: dict[Path, tuple[int, int]], options: argparse.Namespace) -> None:
    """Reports a minidump that is new; Changing when it is not whole. `before`: size and time at the look before."""
    about = path.lstat()
    if found.is_known(path, about) or is_crashpads(path, about):
        return
    now = (about.st_size, about.st_mtime_ns)
    if before.get(path) != now and time.time() - about.st_mtime < OLD:
        before[path] = now
        raise Changing
    with opened(path) as file:
        digest = hashlib.sha256()
        for piece in iter(lambda: file.read(STEP), b""):
            digest.update(piece)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise OSError(errno.EINVAL, "it is no minidump")
        told = crashpad_annotations(file)
        after = os.fstat(file.fileno())
    if (after.st_size, after.st_mtime_ns) != now:
        raise Changing
    name = f"{path.name} {digest.hexdigest()}"  # wherever it is moved
    new = not found.has_twin(path, digest.hexdigest()) or found.report_of(name).exists()
    found.files[str(path)] = [*now, digest.hexdigest()]
    if new:
        defaults = {"CrashTime": str(int(about.st_mtime)), "Hostname": socket.gethostname(), "DumpFile": path.name}
        annotations = {**defaults, **told, **beside(path), "MinidumpSha256Hash": digest.hexdigest()}
        if options.product and not any(map(annotations.get, PRODUCTS)):
            annotations["ProductName"] = options.product
        files = [str(path.with_suffix(ending)) for ending in (*BESIDE, ".meta")]
        found.add(name, {"annotations": annotations, "dump": str(path), "about": now, "beside": files})


def places_of(folder: Path) -> list[Path]:
    """Where its minidumps are: of a Crashpad database those that its handler has written."""
    return list(filter(os.path.isdir, (folder / "completed", folder / "pending"))) or [folder]


def dumps(place: Path, found: Found) -> list[Path]:
    try:
        (place / "..").stat()  # a folder may have names to list, and let nobody enter
        paths = sorted(path for path in place.iterdir() if path.suffix == ".dmp")
    except FileNotFoundError:
        paths = []  # the program was never started
    except OSError as error:
        found.cannot(place, error)
        return []
    found.files.pop(str(place), None)
    return paths


def is_crashpads(path: Path, about: os.stat_result) -> bool:
    """Whether Crashpad has sent a dump itself, or may be about to; crashpad/client/crash_report_database_generic.cc."""
    young = time.time() - about.st_mtime < CRASHPADS_TURN
    if os.path.exists(str(path.with_suffix(".lock"))):  # noqa: PTH110 - never raises
        return young
    with suppress(OSError, struct.error), opened(path.with_suffix(".meta")) as meta:
        version, attributes = struct.unpack("<i20xB", meta.read(25))
        if version == 1 and attributes & 1:
            return True
    with suppress(OSError, struct.error), opened(path.parent.parent / "settings.dat") as settings:
        magic, _, options = struct.unpack("<4sII", settings.read(12))
        return bool(magic == b"sdPC" and options & 1 and path.parent.name == "pending" and young)
    return False


def crashpad_annotations(file: IO[bytes]) -> dict[str, str]:
    """What Crashpad writes into its dumps, simple_annotations of MinidumpCrashpadInfo; nothing of other dumps."""

    def numbers(at: int, count: int) -> tuple[int, ...]:
        file.seek(at)
        return struct.unpack(f"<{count}I", file.read(4 * count))

    def text(at: int) -> str:
        return file.read(min(*numbers(at, 1), MAX_TEXT)).decode("utf-8", "replace")

    with suppress(struct.error):
        _, _, streams, directory = numbers(0, 4)
        for number in range(min(streams, 100)):
            kind, _, at = numbers(directory + 12 * number, 3)
            if kind == CRASHPAD_INFO:
                _, at = numbers(at + 36, 2)
                count = numbers(at, 1)[0] if at else 0
                pairs = [numbers(at + 4 + 8 * one, 2) for one in range(min(count, MAX_ANNOTATIONS))]
                return {text(key): text(value) for key, value in pairs}
    return {}


def beside(path: Path) -> dict[str, str]:
    """What files beside a dump say."""
    found: dict[str, str] = {}
    for name in [path.with_suffix(ending) for ending in BESIDE]:
        with suppress(OSError), opened(name) as file:
            found.update(parsed(file.read(MAX_BESIDE)))
    return found


def parsed(data: bytes) -> dict[str, str]:
    """Annotations: one JSON object, or lines `key=value`, as Firefox wrote them before it had JSON."""
    text = data.decode("utf-8", "replace")
    try:
        found = {key: value if isinstance(value, str) else json.dumps(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, RecursionError):
        lines = [line.partition("=") for line in text.splitlines() if re.match(r"\w[\w.-]*=", line)]
        found = {key: value.replace("\\n", "\n").replace("\\\\", "\\") for key, _, value in lines}
    found.pop("uuid", None)  # only who hands on crashes that have an id already may name one
    return dict(list(found.items())[:MAX_ANNOTATIONS])


def opened(path: Path) -> IO[bytes]:
    """A regular file; OSError of a link, a pipe, and what cannot be read."""
    number = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(number, "rb")


def read_journal(found: Found, options: argparse.Namespace) -> int:
    """Reports each core dump that systemd-coredump recorded since the last look; returns an exit code."""
    private = [f"COREDUMP_{name}" for name in ("ENVIRON", "CMDLINE") if getattr(options, name.lower())]
    since = f"--after-cursor={found.cursor}" if found.cursor else FIRST_LOOK
    fields = f"--output-fields={','.join((*PUBLIC, *private, 'MESSAGE'))}"
    command = [*shlex.split(options.journal_command), "--quiet", "--all", "--output=json", fields, since]
    try:
        reading = subprocess.Popen([*command, f"MESSAGE_ID={CORE_DUMPED}"], stdout=subprocess.PIPE)  # noqa: S603 - the operator's
    except OSError as error:
        say(f"{command[0]}: {error.strerror}: no core dumps are reported. Is this host one with systemd?", 4)
        return FINDINGS
    with reading:
        for line in cast("IO[bytes]", reading.stdout):
            if len(list(found.folder.glob("*.report"))) >= MAX_WAITING:
                say(f"{MAX_WAITING} reports wait to be sent; further core dumps wait in the journal", 4)
                reading.kill()
                break
            try:
                entry = json.loads(line)
                told = of_core(entry, private)
                found.cursor = entry["__CURSOR"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                say(f"an entry of the journal is not understood: {error!r}: {line[:200]!r}", 4)
                continue
            found.add(found.cursor, {"annotations": told})
    if reading.returncode > 0:
        say(f"{command[0]} ends with {reading.returncode}: core dumps may be missing", 4)
        return FINDINGS
    return FINE


def of_core(entry: dict[str, Any], private: list[str]) -> dict[str, str]:
    """The annotations of a core dump's report; the fields are those of systemd-coredump(8)."""
    if not isinstance(entry["__CURSOR"], str):
        raise TypeError("its cursor is no text")
    told = {name: as_text(entry[name]) for name in (*PUBLIC, *private) if entry.get(name)}
    program = re.sub(r" \(deleted\)$", "", told.get("COREDUMP_EXE", ""))
    why = told.get("COREDUMP_SIGNAL_NAME") or told.get("COREDUMP_SIGNAL", "")
    stack = as_text(entry.get("MESSAGE", "")).partition("\n")[2].strip()[:MAX_TEXT]
    top = re.search(r"^#0 +0x[0-9a-f]+ (?:n/a \((?!n/a)(.+)\)|(?!n/a)(\S+) )", stack, re.MULTILINE)
    found = {
        **told,
        "ProductName": program.rpartition("/")[2] or told.get("COREDUMP_COMM", "unknown"),
        "Version": packaged(program) or "unknown",
        "CrashTime": str(int(told.get("COREDUMP_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"]) // 1_000_000),
        "MozCrashReason": f"{why} in {top[1] or top[2]}" if top else why,  # the collector's title and group have it
        "Signal": why,
        "Executable": program,
        "Hostname": socket.gethostname(),
        "StackTrace": stack,
    }
    return {name: value for name, value in found.items() if value}


def as_text(value: Any) -> str:
    """A field of journalctl's JSON, where bytes that are no text are numbers, and a field that came twice is a list."""
    if isinstance(value, list):
        if all(isinstance(one, int) for one in value):
            return bytes(value).decode("utf-8", "replace")
        return as_text(value[-1])
    return str(value)


@lru_cache(maxsize=1000)  # a program that crashes again and again is looked up once a run: dpkg takes a while
def packaged(program: str) -> str:
    """The version of the Debian package that brought `program`; "" of none."""
    for name in (program, re.sub("^/usr/", "/", program)):  # dpkg knows /bin/true, and the kernel /usr/bin/true
        with suppress(OSError, subprocess.TimeoutExpired):
            owner = re.match(r"[a-z0-9][a-z0-9+.:-]*(?=: /)", asked("dpkg-query", "--search", name) if name else "")
            if owner:
                return asked("dpkg-query", "--show", "--showformat=${Version}", owner[0])
    return ""


def asked(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False)  # noqa: S603 - ours
    return done.stdout.decode("utf-8", "replace")


def options_of(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").rpartition("\n\n")[0],
        epilog="Next: crash_reporter.py sends the reports. Exit codes: 0 fine, 1 something was not read, "
        "69 --reports cannot be used, 78 misconfigured.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="JSON with defaults of these options, by their names")
    add("--reports", type=Path, metavar="FOLDER", default="/var/lib/lae-crash-reporter",
        help="where reports go, and what was found is remembered (default: %(default)s)")  # fmt: skip
    add("--folders", nargs="*", type=Path, default=[], metavar="FOLDER",
        help="Crashpad databases, and folders of *.dmp")  # fmt: skip
    add("--product", default="", metavar="NAME", help="ProductName of minidumps that do not say it")
    add("--settle", type=float, default=2.0, metavar="SECONDS",
        help="how long a young file has to stay as it is (default: %(default)s)")  # fmt: skip
    add("--core-dumps", action="store_true", help="report what systemd-coredump recorded")
    add("--journal-command", default="journalctl", metavar="COMMAND",
        help="what reads the journal (default: %(default)s)")  # fmt: skip
    add("--environ", action="store_true", help="report the environment of programs that dumped core, too")
    add("--cmdline", action="store_true", help="report the command line of programs that dumped core, too")
    add("--dry-run", action="store_true", help="show what would be reported, and change nothing")
    early = parser.parse_args(words)
    try:
        if early.config:
            parser.set_defaults(**json.loads(early.config.read_text()))
        found = parser.parse_args(words)
        found.folders, found.reports = [Path(one) for one in found.folders], Path(found.reports)
    except (OSError, ValueError, TypeError) as error:
        say(f"wrong configuration: {early.config}: {error}", 3)
        sys.exit(CONFIGURATION)
    return found


def main() -> int:
    os.umask(0o077)  # reports name programs and folders of this host
    options = options_of(sys.argv[1:])
    try:
        if not options.dry_run:
            options.reports.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(str(options.reports), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)  # one run at a time, however it was started; until this one ends
        found = Found(options.reports, dry=options.dry_run)
        worst = read_journal(found, options) if options.core_dumps else FINE
        worst = look(found, options) or worst
        found.forget_gone(options.folders)
        found.save()
    except OSError as error:
        say(f"{error.filename or options.reports}: {error.strerror}. --reports has to be a folder of one's own", 3)
        return UNAVAILABLE
    return worst


if __name__ == "__main__":
    sys.exit(main())

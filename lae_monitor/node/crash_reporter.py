"""Sends crash reports of this host to a crash collector: those that crash_finder.py puts into --reports.

What the collector has answered for is gone from there, and never sent again. What it could not take, or did not hear of, is
sent later: at least once, for a reply may be lost on its way. What it refused is kept as *.refused until --again.

Python's library only, for Python 3.7 and newer, and one file: it is copied to hosts that have nothing else of ours.
"""

from __future__ import annotations

import argparse
import email.utils
import fcntl
import gzip
import hashlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import stat
import sys
import tempfile
import time
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

FINE, FINDINGS, UNAVAILABLE, TRY_AGAIN, CONFIGURATION = 0, 1, 69, 75, 78  # exit codes; argparse's own is 2
MAX_BODY = 25 * 1024 * 1024  # bytes, compressed; what the collector takes
MAX_REPLY = 10_000  # bytes
MAX_REFUSED = 200  # refused reports that are kept for --again
HOLD, STEP = 1_048_576, 262_144  # bytes of a body in memory, before a temporary file has it; bytes read at a time
TIMEOUT = 60.0  # seconds for each step of an upload, as Crashpad has it
DEADLINE = 900.0  # seconds for all steps of one; 25 MiB take 820 at 256 kbit/s
PAUSE, LONGEST_PAUSE = 30.0, 900.0  # seconds until the second attempt, doubled for each further one, and at most
LONGEST_RETRY_AFTER = 3600.0  # seconds that a collector may make us wait
# Replies that are about the way there, the token or the moment, never about a report: those of the operator, or of a proxy.
PASSING = frozenset({401, 403, 404, 405, 407, 408, 409, 421, 425, 426, 429})
MAGIC = b"MDMP"
HASH = "MinidumpSha256Hash"  # the annotation that has the dump's; crash_finder.py writes it


class Unsent(Exception):
    """A report that is not sent now. `later`: it is tried again, after `wait` seconds if the collector said so."""

    def __init__(self, why: str, *, later: bool = False, every: bool = False, wait: float = 0.0) -> None:
        super().__init__(why)
        self.later, self.every, self.wait = later, every, wait  # every: it is so with all reports, not with this one


class Superseded(Exception):
    """A report of a file that is another one by now, or gone."""


def say(text: str, level: int = 5) -> None:
    """One line; with JOURNAL_STREAM, which systemd sets, its level stands before it, as in sd-daemon(3)."""
    line = re.sub(r"[^ -~]", lambda odd: odd[0].encode("unicode_escape").decode(), text)
    print(f"<{level}>{line}" if "JOURNAL_STREAM" in os.environ else line, file=sys.stderr, flush=True)  # noqa: T201


def opened(report: dict[str, Any]) -> IO[bytes] | None:
    """The minidump that a report is of, if it is of one; also when it was touched since.

    Raises:
        Superseded, OSError
    """
    if "dump" not in report:
        return None
    try:
        number = os.open(report["dump"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Superseded from None
    file, about = os.fdopen(number, "rb"), os.fstat(number)
    same = [about.st_size, about.st_mtime_ns] == report["about"]
    if stat.S_ISREG(about.st_mode) and file.read(4) == MAGIC and (same or digest(file) == report["annotations"][HASH]):
        return file
    file.close()
    raise Superseded


def digest(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    file.seek(0)
    for piece in iter(lambda: file.read(STEP), b""):
        found.update(piece)
    return found.hexdigest()


def form(annotations: dict[str, str], dump: IO[bytes] | None, boundary: str) -> IO[bytes]:
    """A compressed multipart/form-data body; see docs/crashes.md#the-wire.

    Raises:
        Unsent: it is too large.
    """
    body = cast("IO[bytes]", tempfile.SpooledTemporaryFile(HOLD))  # noqa: SIM115 - the caller closes it

    def head(disposition: str) -> bytes:
        found = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
        return found.encode("utf-8", "backslashreplace")

    with gzip.GzipFile(fileobj=body, mode="wb", compresslevel=6) as whole:
        for name, value in annotations.items():
            quoted = re.sub('["%\r\n]', lambda found: f"%{ord(found[0]):02x}", name)
            whole.write(head(f'name="{quoted}"') + value.encode("utf-8", "backslashreplace") + b"\r\n")
        if dump:
            dump.seek(0)
            kind = "Content-Type: application/octet-stream"
            whole.write(head(f'name="upload_file_minidump"; filename="minidump.dmp"\r\n{kind}'))
            for piece in iter(lambda: dump.read(STEP), b""):
                whole.write(piece)
                if body.tell() > MAX_BODY:
                    raise Unsent(f"larger than {MAX_BODY // 1024**2} MiB, compressed")
            whole.write(b"\r\n")
        whole.write(f"--{boundary}--\r\n".encode())
    return body


def post(options: argparse.Namespace, body: IO[bytes], boundary: str) -> str:
    """Sends a form; returns the reply to one that was accepted.

    Raises:
        Unsent: it was not; whether later is up to what the collector said.
    """
    url, size = urlsplit(options.url), body.tell()
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Encoding": "gzip"}
    headers.update({"Content-Length": str(size), "User-Agent": "lae-crash-reporter/1"})
    if options.token:
        headers["Authorization"] = f"Bearer {options.token}"
    body.seek(0)
    try:
        signal.setitimer(signal.ITIMER_REAL, options.deadline, 1)  # again each second: the next address swallows one
        with closing(kind(url.hostname or "", url.port, timeout=TIMEOUT)) as connection:
            connection.request("POST", (url.path or "/submit") + (f"?{url.query}" if url.query else ""), body, headers)
            reply = connection.getresponse()
            said = reply.read(MAX_REPLY).decode("utf-8", "replace").strip()
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
    ) as error:  # ValueError: of a token or path that HTTP cannot say
        raise Unsent(f"{options.url} does not answer: {error!r}", later=True, every=True) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return judged(reply, said)


def judged(reply: http.client.HTTPResponse, said: str) -> str:
    """The line with the id of an accepted crash; nothing else says that it was.

    Raises:
        Unsent: it was not.
    """
    code = re.search(r"^(?:Discarded|Unsupported)=.*$", said, re.MULTILINE)
    accepted = re.search(r"^CrashID=\S.*$", said, re.MULTILINE)
    status, why = reply.status, f"{reply.status} {code[0] if code else said[:200]}"
    if status == 200 and accepted and not code:
        return accepted[0].strip()
    if status in {400, 413} or (code and (status < 300 or (400 <= status < 500 and status not in PASSING))):
        raise Unsent(why)
    wait = seconds(reply.headers.get("Retry-After", ""))
    whose = "no crash collector answers: " if status < 300 else ""
    raise Unsent(whose + why, later=True, every=status < 500 or status == 503 or wait > 0, wait=wait)


def end(*_: object) -> None:
    """Ends an upload that takes too long, wherever it is: the timeout of a socket begins anew with each byte."""
    raise TimeoutError("it takes too long")


def seconds(retry_after: str) -> float:
    """What a Retry-After asks for, RFC 9110, section 10.2.3; 0 when it asks for nothing."""
    if re.match("[0-9]+$", retry_after):
        return float(retry_after)
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0


class Run:
    """Sends what is there to be sent; `worst` is the exit code.

    waits.json has, by report, how often it was tried and the time before which it is not tried again; "" is for all.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.worst = options, FINE
        self._path: Path = options.reports / "waits.json"
        self._waits: dict[str, list[float]] = {}
        latest = time.time() + max(LONGEST_PAUSE, LONGEST_RETRY_AFTER)  # beyond, a clock was ahead as it was written
        with suppress(OSError, ValueError, TypeError, AttributeError):  # without it, what waits is tried now
            waits = json.loads(self._path.read_text()).items()
            self._waits = {name: [float(tries), until if until <= latest else 0.0] for name, (tries, until) in waits}

    def all(self) -> int:
        folder: Path = self.options.reports
        if self.options.again:
            self._waits = {}
            for path in [] if self.options.dry_run else list(folder.glob("*.refused")):
                path.replace(path.with_suffix(".report"))
        # Those that failed come last: one that always fails keeps no other waiting.
        reports = sorted(folder.glob("*.report"), key=lambda path: path.stat().st_mtime)
        reports.sort(key=lambda path: self._waits.get(path.name, [0])[0])
        self._waits = {name: wait for name, wait in self._waits.items() if not name or (folder / name).exists()}
        for path in reports:
            if time.time() < max(self._waits.get(name, [0, 0.0])[1] for name in ("", path.name)):
                self.worst = TRY_AGAIN
            else:
                self.one(path)
        self.save()
        return self.worst

    def one(self, path: Path) -> None:
        """Sends a report, and keeps what became of it."""
        report: dict[str, Any] = {}
        try:
            report = json.loads(path.read_text())
            sent = self.send(report)
        except Superseded:
            say(f"{named(path, report)} is another file by now, or gone: not sent")
            self.forget(report)
        except Unsent as failed:
            say(f"{named(path, report)}: {'not yet sent' if failed.later else 'refused'}: {failed}", 4)
            self.put_off(path, failed) if failed.later else self.refuse(path)
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            say(f"{named(path, report)} cannot be sent: {error!r}", 4)
            self.refuse(path)
            return
        else:
            if self.options.dry_run:
                return
            self._waits.pop("", None)
            if self.options.remove_sent and sent:
                remove(sent, Path(report["dump"]), [Path(one) for one in report["beside"]])
        if not self.options.dry_run:
            unlink(path)

    def forget(self, report: dict[str, Any]) -> None:
        """Has crash_finder.py report a dump anew, should it come upon it elsewhere: it was not sent."""
        path = self.options.reports / "found.json"
        with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):  # damaged, it is begun anew anyway
            found, unsent = json.loads(path.read_text()), (Path(report["dump"]).name, [report["annotations"][HASH]])
            kept = [(name, about) for name, about in found["files"].items() if (Path(name).name, about[2:]) != unsent]
            if not self.options.dry_run:
                write(path, {**found, "files": dict(kept)})

    def send(self, report: dict[str, Any]) -> os.stat_result | None:
        """Returns what the minidump was as it was sent, if the report is of one.

        Raises:
            Superseded, Unsent, OSError
        """
        boundary = f"---MultipartBoundary-{secrets.token_hex(16)}---"
        with opened(report) or nullcontext() as dump:
            about = os.fstat(dump.fileno()) if dump else None
            body = form(report["annotations"], dump, boundary)
        with body:
            name = report.get("dump", f"core dump of {report['annotations'].get('Executable')}")
            if self.options.dry_run:
                say(f"{name}: would be sent to {self.options.url}, {body.tell()} bytes")
            else:
                say(f"{name}: sent: {post(self.options, body, boundary)}")
        return about

    def put_off(self, path: Path, failed: Unsent) -> None:
        self.worst = TRY_AGAIN
        entry = self._waits.setdefault("" if failed.every else path.name, [0, 0.0])
        entry[0] += 1
        backoff = min(PAUSE * 2 ** min(entry[0] - 1, 10), LONGEST_PAUSE)
        entry[1] = time.time() + (min(failed.wait, LONGEST_RETRY_AFTER) or backoff)
        if failed.every:
            self._waits.setdefault(path.name, [0, 0.0])[0] += 1
        self.save()

    def save(self) -> None:
        if not self.options.dry_run:
            write(self._path, self._waits)

    def refuse(self, path: Path) -> None:
        self.worst = self.worst or FINDINGS
        if not self.options.dry_run:
            path.replace(path.with_suffix(".refused"))
            for old in sorted(path.parent.glob("*.refused"), key=lambda old: old.stat().st_mtime)[:-MAX_REFUSED]:
                say(f"{old} is removed: {MAX_REFUSED} refused reports are kept for --again, and there are more", 4)
                unlink(old)


def named(path: Path, report: dict[str, Any]) -> str:
    return str(report.get("dump", path)) if isinstance(report, dict) else str(path)


def write(path: Path, content: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content))
    part.replace(path)


def remove(sent: os.stat_result, dump: Path, files: list[Path]) -> None:
    """Removes a dump that was sent, and the files beside it; a newer one of its name was not."""
    with suppress(OSError):
        now = dump.lstat()
        if (now.st_size, now.st_mtime_ns, now.st_ino) == (sent.st_size, sent.st_mtime_ns, sent.st_ino):
            return unlink(dump, *files)
    return say(f"{dump} is gone, or another file than was sent: not removed", 4)


def unlink(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                say(f"{path} cannot be removed: {error.strerror}", 4)


def send_test(options: argparse.Namespace) -> int:
    """Sends a report that says what it is."""
    told = {"ProductName": "lae-test", "Version": "1", "Hostname": socket.gethostname()}
    told["CrashTime"] = str(int(time.time()))
    boundary = secrets.token_hex(16)
    try:
        say(f"accepted: {post(options, form(told, None, boundary), boundary)}")
    except Unsent as failed:
        say(f"not accepted: {failed}. Does {options.url} lead to the crash collector?", 4)
        return TRY_AGAIN if failed.later else FINDINGS
    return FINE


def options_of(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").rpartition("\n\n")[0],
        epilog="Next: --dry-run shows what would be sent; --test sends a report that says that it is a test.\n"
        "Exit codes: 0 fine, 1 something was refused, 69 --reports cannot be used, 75 sent later, 78 misconfigured.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="JSON with defaults of these options, by their names")
    add("--url", metavar="URL", help="the collector: http://monitoring.example:8000/submit")
    add("--reports", type=Path, metavar="FOLDER", default="/var/lib/lae-crash-reporter",
        help="where crash_finder.py puts reports (default: %(default)s)")  # fmt: skip
    add("--token-file", type=Path, metavar="FILE", help="the product's token, sent as Authorization: Bearer")
    add("--remove-sent", action="store_true", help="remove minidumps that the collector has accepted")
    add("--deadline", type=float, default=DEADLINE, metavar="SECONDS",
        help="for sending one report, all in all (default: %(default)s)")  # fmt: skip
    add("--interval", type=float, default=60.0, metavar="SECONDS",
        help="between two runs, without --once (default: %(default)s)")  # fmt: skip
    add("--once", action="store_true", help="run once, and end")
    add("--again", action="store_true", help="send what was refused once more, and what waits now")
    add("--dry-run", action="store_true", help="run once, show what would be sent, and change nothing")
    add("--test", action="store_true", help="send a test report, and nothing else")
    early = parser.parse_args(words)
    try:
        if early.config:
            parser.set_defaults(**json.loads(early.config.read_text()))
        found = parser.parse_args(words)
        found.reports = Path(found.reports)
        found.token = Path(found.token_file).read_text().strip() if found.token_file else ""
        url = urlsplit(str(found.url or ""))
        if url.scheme not in {"http", "https"} or not (url.hostname or "").encode("idna") or url.port == 0:
            raise ValueError(f"--url {found.url}: give the collector's, such as http://monitoring.example:8000/submit")  # noqa: TRY301
    except (OSError, ValueError, TypeError) as error:  # ValueError: also of a host or port that there cannot be
        say(f"wrong configuration: {error}", 3)
        sys.exit(CONFIGURATION)
    return found


def main() -> int:
    options = options_of(sys.argv[1:])
    signal.signal(signal.SIGALRM, end)
    try:
        return send_test(options) if options.test else run(options)
    except OSError as error:
        say(f"{error.filename or options.reports}: {error.strerror}. --reports has to be a folder of one's own", 3)
        return UNAVAILABLE


def run(options: argparse.Namespace) -> int:
    os.umask(0o077)  # what is kept names programs and folders of this host
    if options.dry_run:
        with suppress(FileNotFoundError):
            list(options.reports.iterdir())  # glob would be silent of a folder that cannot be read
        return Run(options).all()
    options.reports.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        lock = os.open(str(options.reports), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)  # one run at a time, however it was started
        code = Run(options).all()
        os.close(lock)
        if options.once:
            return code
        time.sleep(options.interval)


if __name__ == "__main__":
    sys.exit(main())

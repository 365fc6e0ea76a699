"""`lae-monitor report`."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.owner import as_caller

_WHICH: Final = (
    click.option("--host", default="", help="Which one, when hosts share an id."),
    click.option("--cluster", default="", help="Which one, when clusters share an id."),
)
STEP: Final = 256 * 1024  # bytes copied at a time
NEWLINE: Final = "\n"


def _which(command: Any) -> Any:
    for option in _WHICH:
        command = option(command)
    return command


@click.group()
@common
def report(_invocation: Invocation) -> None:
    """One report, by its id: a crash id, an incident's name, or PATH:OFFSET as searches print it."""


@report.command()
@click.argument("id_", metavar="ID")
@_which
@common
def show(invocation: Invocation, id_: str, host: str, cluster: str) -> None:
    """Show a report: its event, and its contents in the archive.

    \b
    lae-monitor report show eee7016f-b517-4a7d-a9c2-0d5e00261122
    lae-monitor report show incident-2026-11-22--09-44-34Z-serjmai --json
    """
    from lae_monitor.terminal.answers import address, answers

    with answers(invocation) as asked:
        found = asked.get(address("api", "reports", id_), host=host, cluster=cluster)
    invocation.answer(found, lambda: _text(found))
    if not invocation.as_json and found["length"]:
        click.echo(f"Next: lae-monitor report save {id_}", err=True)


def _text(found: Mapping[str, Any]) -> str:
    return "\n".join([*_facts(found), *_files(found), *_sections(found)])


def _facts(found: Mapping[str, Any]) -> Iterator[str]:
    from lae_monitor.core.limits import format_size
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import painted, when

    event = found["event"]
    yield painted(one_line(event["title"]) or "(no title)", event["level"])
    yield f"  {one_line(event['kind'])}, {one_line(event['level'])}"
    yield f"  host      {one_line(event['host']) or 'none'} ({one_line(event['cluster'])})"
    yield f"  happened  {when(event['time'])}"
    yield f"  received  {when(event['received']) if event['received'] else 'not known'}"
    yield f"  id        {one_line(event['id'])}"
    if event["group"]:
        yield f"  group     {one_line(event['group'])}  ({found['group_id']})"
    if found["file"]:
        yield f"  archive   {one_line(found['file'])}, byte {found['offset']:,}, {format_size(found['length'])}"
    for other in found["others"]:
        yield f"  others    {one_line(other['host'])} ({one_line(other['cluster'])}) has this id, too: --host, --cluster"
    for other in found["duplicates"]:
        same = f"is the same {one_line(event['kind'])}"
        yield f"  twice     {one_line(other['id'])} {same}, received {when(other['received'])}"
    if found["note"]:
        yield painted(f"  {one_line(found['note'])}", "warning")


def _files(found: Mapping[str, Any]) -> Iterator[str]:
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import painted

    if found["parts"]:
        yield "\n" + painted("Files", bold=True)
    for part in found["parts"]:
        note = f"  {one_line(part['note'])}" if part["note"] else ""
        yield f"  {one_line(part['name'])}  {part['size']:,} bytes  sha256 {part['sha256']}{note}"


def _sections(found: Mapping[str, Any]) -> Iterator[str]:
    """What the kind made of the bytes, and those attributes that are not among it."""
    from lae_monitor.core.printable import one_line, printable
    from lae_monitor.terminal.table import painted

    event = found["event"]
    told = {item for section in found["sections"] for item in section["fields"].items()}
    attributes = {"title": "Attributes", "fields": dict(event["attrs"].items() - told), "text": "", "note": ""}
    sections = found["sections"] or [{"title": "Text", "fields": {}, "text": event["text"], "note": ""}]
    for section in (*sections, attributes):
        if not (section["fields"] or section["text"] or section["note"]):
            continue
        yield "\n" + painted(one_line(section["title"]), bold=True)
        for name, value in sorted(section["fields"].items()):
            yield f"  {one_line(name)}: {printable(value).replace(NEWLINE, NEWLINE + '    ')}"
        yield from (f"  {line}" for line in printable(section["text"]).splitlines())
        if section["note"]:
            yield painted(f"  {one_line(section['note'])}", "warning")


@report.command()
@click.argument("id_", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write; - for standard output. Default: its name in the archive.",
)
@click.option("--dump", default="", metavar="NAME", help="One file out of a crash, such as upload_file_minidump.")
@_which
@common
def save(invocation: Invocation, id_: str, output: Path | None, dump: str, host: str, cluster: str) -> None:
    """The original bytes of a report: a crash's zip (or one of its dumps), an incident's flog file, lines of samples.

    \b
    lae-monitor report save eee7016f-b517-4a7d-a9c2-0d5e00261122 -o crash.zip
    lae-monitor report save eee7016f-b517-4a7d-a9c2-0d5e00261122 --dump upload_file_minidump
    """
    from lae_monitor.terminal.answers import address, answers

    with answers(invocation) as asked:
        found = asked.get(address("api", "reports", id_), host=host, cluster=cluster)
        where = found["event"]
        target = output or Path(dump or PurePosixPath(found["file"]).name or "report")
        if output is None and target.exists():
            invocation.fail(f"{target} is there already", EXIT_USAGE, following="say where to with -o FILE")
        try:
            with _written(target) as file, tempfile.TemporaryFile() as whole:
                asked.save(
                    address("api", "reports", id_, "original"), (whole if dump else file).write,
                    host=where["host"], cluster=where["cluster"],
                )  # fmt: skip
                size = _take_out(invocation, whole, dump, file) if dump else found["length"]
        except OSError as error:
            invocation.fail(
                f"{target}: {error.strerror or error}", EXIT_UNAVAILABLE, following="choose another -o FILE"
            )
    if str(target) != "-":
        invocation.answer({"id": id_, "file": str(target), "bytes": size}, f"{target}: {size:,} bytes")


@contextlib.contextmanager
def _written(target: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only when it is whole."""
    if str(target) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with as_caller():
        file = tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False)  # noqa: SIM115
    with file:
        try:
            yield file
            file.flush()
            with as_caller():
                Path(file.name).replace(target)
        except BaseException:
            with as_caller():
                Path(file.name).unlink(missing_ok=True)
            raise


def _take_out(invocation: Invocation, whole: IO[bytes], name: str, target: IO[bytes]) -> int:
    """Writes the file `name` out of the zip `whole`; returns its size."""
    import zipfile

    try:
        with zipfile.ZipFile(whole) as archive:
            if name not in archive.namelist():
                known = ", ".join(archive.namelist()[:20])
                invocation.fail(f"no file {name} in it; there are: {known}", EXIT_FINDINGS)
            size = 0
            with archive.open(name) as member:
                while piece := member.read(STEP):
                    size += target.write(piece)
            return size
    except zipfile.BadZipFile:
        invocation.fail("this report has no files in it", EXIT_USAGE, following="leave out --dump")


@report.command()
@click.argument("id_", metavar="ID")
@common
def retry(invocation: Invocation, id_: str) -> None:
    """Retry a report that its reader did not understand, after an update of lae-monitor for example. ID is in the alarm.

    \b
    lae-monitor report retry 3f1c0a9be2
    """
    from lae_monitor.terminal.answers import address, answers

    with answers(invocation) as asked:
        answer = asked.post(address("api", "reports", id_, "retry"))
    invocation.answer(answer, "read again\nNext: lae-monitor search kind:alarm since:10m")

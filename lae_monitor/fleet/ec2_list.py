"""The list that runs of `fleet ec2` are compared with, and the journal of what changed since.

    <state>/fleet-ec2.json      0600, replaced whole

It is written after the changes are in the journal, durably: a run that is cut off between the two is repeated by the next
one, and its changes are then on the timelines twice. A change is never lost.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from lae_monitor.archive import Journal
from lae_monitor.archive.small_files import replace
from lae_monitor.fleet.ec2_compare import NEWS, VERSION, Change, Finding, Known

PROCESS: Final = "fleet-ec2"  # of the journal's file, and of the lock that the caller holds
FILE: Final = f"{PROCESS}.json"
MAX_FILE: Final = 64 * 1024 * 1024  # bytes; 100,000 instances have 30 MiB


class Unusable(Exception):
    """The kept list cannot be read, so nothing can be compared."""


def read_list(path: Path) -> Known | None:
    """What the last run kept; None when there was none.

    Raises:
        Unusable
        OSError
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version != VERSION:
            raise Unusable(f"{path} is of another release (version {version})")
        return msgspec.json.decode(data, type=Known)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be understood: {error}") from error


class _Version(msgspec.Struct):
    version: int


def write_list(path: Path, known: Known) -> None:
    """Makes `known` what the next run is compared with.

    Raises:
        OSError: the last list stays.
    """
    replace(path, msgspec.json.encode(known) + b"\n")


async def journal_changes(
    journal: Journal, changes: Sequence[Change], findings: Sequence[Finding], cluster_of: Callable[[str], str]
) -> None:
    """A mark for each change on its host's timeline; returns when all are durable.

    Args:
        journal: of this process.
        changes: what to write.
        findings: all there are now; told by the mark with which a list begins.
        cluster_of: the cluster of a host.

    Raises:
        Full, Failed: some may be written.
    """
    await asyncio.gather(*(_write(journal, change, findings, cluster_of) for change in changes))


async def _write(
    journal: Journal, change: Change, findings: Sequence[Finding], cluster_of: Callable[[str], str]
) -> None:
    finding = change.finding
    ids = ", ".join(finding.instances)
    is_over = change.how == "over"
    text = "\n".join(f"{one.kind}: {one.host}: {one.text}" for one in findings) if finding.kind == "begins" else ""
    await journal.write(
        "mark",
        cluster=cluster_of(finding.host),
        host=finding.host,
        title=f"EC2: over: {finding.kind.replace('_', ' ')}: {ids}" if is_over else f"EC2: {finding.text}",
        text=text,
        level="info" if is_over or finding.kind in NEWS else "warning",
        finding=finding.kind,
        change=change.how,
        instances=ids,
        regions=", ".join(finding.regions),
    )

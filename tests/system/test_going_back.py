"""The release before this one on what this one wrote, and this one again: nothing is deleted, quarantined, shown twice or alarmed.

Both are real wheels, and work on one state folder with reports of every kind, decisions, a quarantine and alarms. What they have
to agree on is seen from outside: the archive's files byte by byte, the rows that a search finds, groups and quarantine.
"""

import hashlib
import re
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "kinds" / "incidents"))
sys.path.insert(0, str(Path(__file__).parent))

from monitor import Monitor, await_that
from recorded import made_incident
from test_spine import post_samples, sample, submit_crash

ALL = "since:9y"


class Seen:
    """What is there and shown, with all that came in the archive and in no queue any more."""

    def __init__(self, monitor, expected):
        def whole():
            self.rows = Counter(identity(row) for row in monitor.search(ALL))
            moving = monitor.get("/api/store")["moving"]
            return expected <= {row[4] for row in self.rows} and moving["caught_up"] and not moving["waiting"]

        await_that(whole, "all that was sent is found")
        with closing(sqlite3.connect(f"file:{monitor.state / 'mover.db'}?mode=ro", uri=True)) as ledger:
            self.quarantine = sorted(ledger.execute("SELECT path, reason FROM quarantine"))
        self.archive = archive(monitor)
        groups = monitor.get("/api/groups?state=all")["groups"]
        self.groups = {group["id"]: (group["state"], group["events"]) for group in groups}
        self.hosts = sorted((host["cluster"], host["host"]) for host in monitor.get("/api/hosts")["hosts"])


def identity(row):
    """What makes a row the same for every release, however it is worded."""
    return row["kind"], row["cluster"], row["host"], row["time"], row["id"], row["group"]


def archive(monitor):
    """A hash of every report. Journal and categories grow with whatever runs; names that begin with a dot are no reports."""
    root = monitor.state / "archive"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not re.search(r"^journal/|/classified|(^|/)\.", str(path.relative_to(root)))
    }


def send(monitor, number):
    """A report of every kind, each of a group of its own; returns how the crash is called."""
    crash = submit_crash(monitor, ProductName=f"Product{number}", Version="1.0")
    now = datetime.now(UTC)
    post_samples(monitor, sample(f"node{number}.hpc", now.isoformat(timespec="seconds"), 100 + number))
    name = f"incident-{now:%Y-%m-%d--%H-%M-%SZ}-aaaaaa{'abcdefg'[number]}"
    folder = monitor.folder / f"node{number}" / "logs" / "incidents"
    made_incident(folder, name, text=f"mistake {'abcdefg'[number]}")
    monitor.cli("import", str(folder), "--host", f"store{number}")
    return crash, name


def run(monitor, release):
    monitor.program = [str(release.program)]
    monitor.start()


def found(monitor):
    return {row["id"] for row in monitor.search(ALL)}


def errors(monitor):
    return [
        line
        for line in monitor.log.decode(errors="replace").splitlines()
        if re.search(r"Traceback|ERROR|CRITICAL", line)
    ]


def test_nothing_is_lost_or_told_twice_by_going_back_and_forward_again(tmp_path, previous_release, this_release):
    monitor = Monitor(tmp_path / "monitor")
    try:
        garbage = (
            monitor.state / "archive/incidents/lae/incidents/store0/incident-2026-11-01--10-00-00Z-zzzzzzz.flog.bz2"
        )
        garbage.parent.mkdir(parents=True, mode=0o700)
        garbage.write_bytes(b"BZh9 not an incident")
        run(monitor, this_release)
        sent = {*send(monitor, 0), *send(monitor, 1)}
        groups = await_that(
            lambda: len(listed := monitor.get("/api/groups?state=all")["groups"]) == 2 and listed, "groups of crashes"
        )
        await_that(lambda: len(monitor.search(f"kind:alarm {ALL}")) == 3, "alarms of both, and of what is not readable")
        closed = groups[0]["id"]
        monitor.cli("group", "close", closed)
        seen = [Seen(monitor, sent)]
        assert [path for path, _ in seen[0].quarantine] == [str(garbage.relative_to(monitor.state / "archive"))]
        for number, release in enumerate((previous_release, this_release), 2):
            assert monitor.stop() == 0, monitor.log.decode()
            run(monitor, release)
            same = Seen(monitor, sent)
            assert sorted(same.archive.items() ^ seen[-1].archive.items()) == []
            assert vars(same) == vars(seen[-1])
            sent |= {*send(monitor, number)}
            await_that(
                lambda n=number: len(monitor.search(f"kind:alarm {ALL}")) == n + 2, "it goes on to tell of what is new"
            )
            seen.append(Seen(monitor, sent))
            assert same.archive.items() <= seen[-1].archive.items()
            assert not same.rows - seen[-1].rows
            assert same.groups.items() <= seen[-1].groups.items()
            assert max(seen[-1].rows.values()) == 1, "nothing is shown twice"
            assert errors(monitor) == []
            monitor.cli("check", "fleet")
            listed = [
                line
                for path in monitor.state.glob("archive/*/*/classified/*")
                for line in path.read_text().splitlines()
            ]
            assert len(listed) == len(set(listed)), "no incident is classified twice"
        assert seen[-1].groups[closed][0] == "closed"
        monitor.cli("store", "rebuild")
        assert Seen(monitor, sent).rows == seen[-1].rows
    finally:
        monitor.stop()

"""Stored incidents are classified in the background, again when rules change, and what was found survives everything."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import lae_monitor
from flogs import flog
from gatherer_process import Process, await_that

from lae_monitor.archive import Archive, Journal
from lae_monitor.core.limits import Reserve
from lae_monitor.core.rows import Span
from lae_monitor.kinds import KINDS

RULES = '[[rule]]\nname = "a"\ncategory = "alpha"\numid = "aaaaaa"\n'
MORE = RULES + '[[rule]]\nname = "b"\ncategory = "beta"\numid = "bbbbbb"\n'


def name(number):
    return f"incident-2026-11-22--09-44-{number:02}Z-aaaaaaa"


class Job:
    """The job of a test: its archive outlives its processes."""

    def __init__(self, folder):
        self.folder = folder
        self.rules = folder / "rules.toml"
        self.rules.write_text(RULES)
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        self.config = folder / "lae-monitor.toml"
        self.config.write_text(
            f'[state]\npath = "{folder / "state"}"\n[fleet]\nname = "lae"\n[gatherers.incidents]\n'
            f'rules = "{self.rules}"\nclassifiers = "plugins"\nclassify_limit = "10s"\n'
        )
        self.cluster = folder / "state" / "archive" / "incidents" / "lae"
        self.process = None

    def plant(self, number, umid, host="node1"):
        """An incident that is there before the job starts."""
        path = self.cluster / "incidents" / host / f"{name(number)}.flog.bz2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(flog({"umid": umid, "message": "boo", "level": 30, "num": number}))
        return path

    def store(self, number, umid, host="node1"):
        """An incident that comes now."""
        (self.folder / f"{name(number)}.flog.bz2").write_bytes(flog({"umid": umid, "level": 30, "num": number}))
        self.process.child.stdin.write(f"lae {host} {name(number)}\n".encode())
        self.process.child.stdin.flush()

    def start(self, loop="uvloop"):
        command = [sys.executable, str(Path(__file__).with_name("job_driver.py")), str(self.config), loop]
        self.process = Process(command, self.folder, f"job-{len(list(self.folder.glob('job-*.err')))}")
        self.process.await_output("running")
        return self

    def stop(self, number=signal.SIGTERM):
        code = self.process.kill(number)
        assert code in {0, -number} if number == signal.SIGKILL else code == 0, self.process.log()
        self.process = None

    def lists(self):
        folder, found = self.cluster / "classified", {}
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # the job may remove one at any moment
                found[path.name] = path.read_text()
        return found

    def await_lists(self, **wanted):
        """Until the lists are these, by category: the numbers of node1's incidents, the oldest first."""
        lines = {
            category: "".join(f"incidents/node1/{name(number)}.flog.bz2\n" for number in numbers)
            for category, numbers in wanted.items()
        }
        await_that(lambda: self.lists() == lines, lambda: f"{self.lists()}\n{self.process and self.process.log()}")

    def journal(self):
        paths = sorted((self.folder / "state" / "archive" / "journal").glob("*/*/*/*.jsonl"))
        entries = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
        return [(entry["id"], entry["categories"]) for entry in entries if entry["what"] == "categories"]

    def cli(self, *arguments):
        return lae_monitor("--config", str(self.config), "incidents", *arguments)

    def close(self):
        if self.process is not None:
            self.process.kill()


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_is_stored_and_what_comes_is_classified_in_flogtools_words(job, loop):
    job.plant(1, "aaaaaa")
    job.plant(2, "bbbbbb")
    job.start(loop).await_lists(alpha=[1], unknown=[2])
    job.store(3, "aaaaaa")
    job.await_lists(alpha=[1, 3], unknown=[2])
    log = job.process.log()
    for words in (
        "classifying stored incidents",
        "0 incidents already classified",
        "done classifying 2 stored incidents",
        f"classified incidents/node1/{name(1)}.flog.bz2 as [alpha]",
        f"classified incidents/node1/{name(3)}.flog.bz2 as [alpha]",
    ):
        assert words in log
    assert sorted(job.journal()) == [(name(1), "alpha"), (name(2), "unknown"), (name(3), "alpha")]
    job.stop()
    job.start(loop)
    job.process.await_log("3 incidents already classified")
    job.process.await_log("done classifying 0 stored incidents")
    assert len(job.journal()) == 3


def test_new_rules_are_taken_without_a_restart_and_only_changes_are_written(job):
    for number, umid in enumerate(["aaaaaa", "bbbbbb", "aaaaaa"]):
        job.plant(number, umid)
    job.start().await_lists(alpha=[0, 2], unknown=[1])
    job.rules.write_text(MORE)
    job.await_lists(alpha=[0, 2], beta=[1])
    job.process.await_log("classification rules were read again")
    assert sorted(job.journal()) == [
        (name(0), "alpha"), (name(1), "beta"), (name(1), "unknown"), (name(2), "alpha"),
    ]  # fmt: skip
    (job.plugins / "classify_more.py").write_text("def classify_incident(trigger): return ['gamma', 'delta']")
    job.await_lists(alpha=[0, 2], beta=[1], gamma=[0, 1, 2], delta=[0, 1, 2])
    (job.plugins / "classify_more.py").unlink()
    job.await_lists(alpha=[0, 2], beta=[1])


def test_wrong_rules_change_nothing_and_are_told_once(job):
    job.plant(0, "aaaaaa")
    job.start().await_lists(alpha=[0])
    job.rules.write_text(MORE.replace("umid", "umdi"))
    job.process.await_log("umdi: unknown key")
    job.store(1, "aaaaaa")
    job.await_lists(alpha=[0, 1])
    job.rules.write_text(MORE)
    job.store(2, "bbbbbb")
    job.await_lists(alpha=[0, 1], beta=[2])
    assert job.process.log().count("rule a: umdi: unknown key") == 1


def test_wrong_rules_at_the_start_wait_for_good_ones(job):
    job.plant(0, "aaaaaa")
    job.rules.write_text("[[rule]")
    job.start().process.await_log("none are in force until then")
    assert job.lists() == {}
    job.rules.write_text(RULES)
    job.await_lists(alpha=[0])


def test_rules_that_changed_while_nothing_ran_are_taken_at_the_start(job):
    job.plant(0, "bbbbbb")
    job.start().await_lists(unknown=[0])
    job.stop()
    job.rules.write_text(MORE)
    job.start().await_lists(beta=[0])


def test_a_list_that_was_deleted_is_made_anew(job):
    job.plant(0, "aaaaaa")
    job.plant(1, "bbbbbb")
    job.start().await_lists(alpha=[0], unknown=[1])
    (job.plugins / "classify_b.py").write_text("def classify_incident(trigger): return None")
    (job.cluster / "classified" / "unknown").unlink()
    job.await_lists(alpha=[0], unknown=[1])
    job.stop()
    (job.cluster / "classified" / "unknown").unlink()
    job.start().await_lists(alpha=[0], unknown=[1])


def test_what_is_no_incident_is_called_unreadable_and_holds_nothing_up(job):
    job.plant(0, "aaaaaa").write_bytes(b"BZh9 truncated")
    job.plant(1, "aaaaaa")
    job.start().await_lists(unreadable=[0], alpha=[1])


def test_an_incident_that_was_taken_away_leaves_the_lists(job):
    job.plant(0, "aaaaaa")
    gone = job.plant(1, "aaaaaa")
    job.start().await_lists(alpha=[0, 1])
    job.stop()
    gone.unlink()
    job.start().await_lists(alpha=[0])


def test_a_classifier_that_hangs_and_one_that_kills_are_named_once(job):
    (job.plugins / "classify_bad.py").write_text("import os\ndef classify_incident(trigger): os._exit(3)")
    for number in range(5):
        job.plant(number, "aaaaaa")
    job.start().await_lists(alpha=range(5))
    log = job.process.log()
    assert log.count("classify_bad.py has no opinion of ") == 1
    assert log.count("classify_bad.py is not asked any more until the rules or classifiers change") == 1


@pytest.mark.parametrize("after", ["running", "already classified", "done classifying"])
def test_killed_at_any_time_the_lists_and_the_journal_end_the_same(job, after):
    for number in range(40):
        job.plant(number, "aaaaaa" if number % 2 else "bbbbbb")
    for rules in (RULES, MORE, RULES, MORE, RULES):
        job.rules.write_text(rules)
        job.start()
        if after != "running" and rules == MORE:
            job.process.await_log(after)
        job.stop(signal.SIGKILL)
    job.start().await_lists(alpha=range(1, 40, 2), unknown=range(0, 40, 2))
    job.process.await_log("done classifying")
    assert dict(job.journal()) == {name(number): "alpha" if number % 2 else "unknown" for number in range(40)}


def test_what_the_journal_has_and_the_lists_have_not_is_taken_from_it(job):
    """A process was killed between the two, and its rules were changed back."""
    job.plant(0, "bbbbbb")
    job.start().await_lists(unknown=[0])
    job.stop()
    kept = {
        path: path.read_bytes() for path in (job.cluster / "classified" / "unknown", job.cluster / "classified.json")
    }
    job.rules.write_text(MORE)
    job.start().await_lists(beta=[0])
    job.stop()
    (job.cluster / "classified" / "beta").unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    job.rules.write_text(RULES)
    job.start().await_lists(unknown=[0])
    await_that(lambda: [said for _, said in job.journal()] == ["unknown", "beta", "unknown"], job.process.log)


def test_the_journal_gives_the_rows_of_the_store(job):
    job.plant(0, "aaaaaa")
    job.start().await_lists(alpha=[0])
    job.stop()
    (path,) = (job.folder / "state" / "archive" / "journal").glob("*/*/*/*.jsonl")
    data = path.read_bytes()
    (row,) = KINDS.reader("journal/x").read(Span("journal/x.jsonl", 0, len(data)), data)
    assert (row.table, row.cluster, row.host, row.id, row.categories) == (
        "categories",
        "lae",
        "node1",
        name(0),
        ["alpha"],
    )
    assert len(row.rules) == 12


def test_many_stored_incidents_do_not_slow_the_start(job):
    """The lists of an archive of 100,000 incidents are read beside the gatherer: a new one does not wait for them long."""
    folder = job.cluster / "incidents" / "node1"
    folder.mkdir(parents=True)
    job.plant(0, "aaaaaa")
    job.start().await_lists(alpha=[0])
    job.stop()
    first = folder / f"{name(0)}.flog.bz2"
    names = [f"incident-2026-10-{day:02}--{hour:02}-{n // 60:02}-{n % 60:02}Z-bbbbbbb"
             for day in range(1, 29) for hour in range(10) for n in range(72)]  # fmt: skip
    for one in names:
        (folder / f"{one}.flog.bz2").hardlink_to(first)
    lines = "".join(f"incidents/node1/{one}.flog.bz2\n" for one in [*names, name(0)])
    (job.cluster / "classified" / "alpha").write_text(lines)
    job.start().process.await_log(f"{len(names) + 1} incidents already classified")
    job.process.await_log("done classifying 0 stored incidents")
    job.store(5, "aaaaaa")
    await_that(lambda: name(5) in job.lists()["alpha"], job.process.log)
    assert len(job.journal()) == 2


# ---- the command line ----------------------------------------------------------------------------------------------


def test_rules_are_tried_on_the_archive_and_change_nothing(job):
    for number, umid in enumerate(["aaaaaa", "bbbbbb", "cccccc"]):
        job.plant(number, umid)
    job.start().await_lists(alpha=[0], unknown=[1, 2])
    job.stop()
    new = job.folder / "new.toml"
    new.write_text(MORE + '[[rule]]\nname = "never"\ncategory = "never"\numid = "zzzzzz"\n')
    before = job.lists()
    tried = job.cli("classify", "--test", "--rules", str(new), "--json")
    assert tried.returncode == 0, tried.stderr
    answer = json.loads(tried.stdout)
    assert (answer["incidents"], answer["changed"], answer["never"]) == (3, 1, ["rule never"])
    assert [(row["category"], row["before"], row["after"]) for row in answer["categories"]] == [
        ("alpha", 1, 1), ("beta", 0, 1), ("unknown", 2, 1),
    ]  # fmt: skip
    line = f"incidents/node1/{name(1)}.flog.bz2"
    assert (answer["categories"][1]["gained"], answer["categories"][2]["lost"]) == ([line], [line])
    assert job.lists() == before
    text = job.cli("classify", "--test", "--rules", str(new))
    assert "1 of 3 incidents would be called otherwise" in text.stdout
    assert 'to put them in force: rules = "' in text.stderr


def test_categories_are_counted(job):
    for number, umid in enumerate(["aaaaaa", "bbbbbb", "aaaaaa"]):
        job.plant(number, umid)
    job.plant(7, "aaaaaa", host="node2")
    assert job.cli("categories").returncode == 1
    job.start()
    await_that(lambda: name(7) in job.lists().get("alpha", ""), job.process.log)
    job.stop()
    rows = json.loads(job.cli("categories", "--json").stdout)
    assert [(row["category"], row["incidents"], row["hosts"]) for row in rows] == [
        ("alpha", 3, {"node1": 2, "node2": 1}), ("unknown", 1, {"node1": 1}),
    ]  # fmt: skip
    assert (rows[0]["newest"], rows[0]["host"], rows[0]["last"]) == (name(7), "node2", "2026-11-22T09:44:07.000Z")
    assert [row["incidents"] for row in json.loads(job.cli("categories", "--host", "node2", "--json").stdout)] == [1]


@pytest.mark.parametrize("command", [("classify", "--test"), ("classify", "x.flog.bz2")])
def test_wrong_rules_are_a_mistake_of_configuration(job, command):
    job.rules.write_text(RULES.replace("umid", "umdi"))
    answer = job.cli(*command)
    assert answer.returncode == 78
    assert f'{job.rules}: rule a: umdi: unknown key, did you mean "umid"?' in answer.stderr


def test_a_file_that_cannot_be_read_is_a_finding_and_the_others_are_told(job):
    good, bad = job.plant(0, "aaaaaa"), job.folder / "bad.flog.bz2"
    bad.write_bytes(b"x")
    answer = job.cli("classify", str(good), str(bad), str(job.folder / "none"))
    assert (answer.returncode, answer.stdout) == (1, f"{good}: alpha\n")
    assert "bad.flog.bz2: unreadable: " in answer.stderr
    assert "none: No such file" in answer.stderr


def test_check_config_names_what_is_wrong(job):
    job.rules.write_text(RULES + "message = '('\n")
    command = [Path(sys.executable).parent / "lae-monitor", "--config", str(job.config), "check", "config"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert f"{job.rules}: rule a: message: is no regular expression" in answer.stdout + answer.stderr
    job.rules.write_text(RULES)
    (job.plugins / "classify_old.py").write_text("print 'x'")
    answer = lae_monitor(*command[1:])
    assert "classify_old.py: SyntaxError" in answer.stdout + answer.stderr


def test_the_archive_is_as_the_archive_wants_it(job):
    """What the job leaves is taken by an archive that opens anew, with no torn or foreign file."""
    job.plant(0, "aaaaaa")
    job.start().await_lists(alpha=[0])
    job.stop()

    async def look():
        archive = await Archive([job.folder / "state" / "archive"], "test", reserve=Reserve(size=1)).open()
        try:
            await Journal(archive).write("mark", title="x")
            return [entry.name for entry in await archive.entries("incidents/lae")]
        finally:
            await archive.close()

    assert sorted(asyncio.run(look())) == ["classified", "classified.json", "incidents"]

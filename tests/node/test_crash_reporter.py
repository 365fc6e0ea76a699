"""crash_finder.py and crash_reporter.py: a crash of a watched host reaches the collector, whatever is in the way, and once."""

import ast
import gzip
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from lae_monitor.kinds.crashes.program import NAMES, program_of
from lae_monitor.kinds.crashes.report import annotations_in

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(path for path in (ROOT / "lae_monitor/node").glob("*.py") if path.name != "__init__.py")
CRASH = ROOT / "tests" / "kinds" / "crashes" / "crash_with_crashpad.py"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_is_one_file_for_old_pythons_and_says_how_to_use_it(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 7))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported <= sys.stdlib_module_names
    told = subprocess.run([sys.executable, "-I", path, "--help"], capture_output=True, text=True, check=True).stdout
    assert "Next: " in told
    assert "Exit codes: 0 fine, 1 " in told


# ---- what is found -------------------------------------------------------------------------------------------------


def test_a_minidump_arrives_byte_for_byte_and_once(host, collector, crashes):
    host.point(collector.port)
    dump = b"MDMP" + os.urandom(300_000)
    host.dump("a.dmp", dump)
    found, sent = host.both()
    assert (found.code, sent.code) == (0, 0), (found, sent)
    assert "sent: CrashID=bp-" in sent.said
    ((raw, stored),) = crashes(collector)
    assert stored == dump
    assert (raw["ProductName"], raw["CrashTime"], raw["DumpFile"]) == ("Prog", "1790000000", "a.dmp")
    for _ in range(2):
        assert [done.code for done in host.both()] == [0, 0]
    os.utime(host.dumps / "a.dmp")
    assert [done.code for done in host.both()] == [0, 0]
    assert len(crashes(collector)) == 1
    assert (host.dumps / "a.dmp").exists()


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".extra", json.dumps({"ProductName": "Beside", "Version": "3", "StackTraces": {"a": [1]}, "uuid": "no"})),
        (".json", json.dumps({"ProductName": "Beside", "Version": "3"})),
        (".txt", "ProductName=Beside\nVersion=3\nNotes=one\\ntwo\nno annotation\n"),
    ],
)
def test_what_stands_beside_a_dump_goes_with_it(host, collector, crashes, ending, text):
    host.point(collector.port).dump("a.dmp")
    (host.dumps / f"a{ending}").write_text(text)
    host.both()
    ((raw, _),) = crashes(collector)
    assert (raw["ProductName"], raw["Version"]) == ("Beside", "3")
    assert raw.get("Notes", "one\ntwo") == "one\ntwo"
    assert raw.get("StackTraces", '{"a": [1]}') == '{"a": [1]}'


def test_a_dump_beside_which_a_product_stands_is_not_given_another(host, collector, crashes):
    """Whatever name the product has there: the collector reads the most specific one."""
    host.point(collector.port)
    for number, (product, _) in enumerate(NAMES):
        host.dump(f"{number}.dmp", b"MDMP" + bytes([number]) * 300)
        (host.dumps / f"{number}.extra").write_text(json.dumps({product: "Beside"}))
    host.dump("none.dmp")
    (host.dumps / "none.extra").write_text(json.dumps({"product": ""}))
    host.both()
    assert sorted(program_of(annotations_in(raw)).product for raw, _ in crashes(collector)) == ["Beside"] * len(
        NAMES
    ) + ["Prog"]


def crashpad(handler, database, url):
    """A real dump in a real database."""
    subprocess.run([sys.executable, CRASH, handler, database, url, "--no-upload-gzip"], check=True, timeout=120)
    (dump,) = [*(database / "completed").glob("*.dmp"), *(database / "pending").glob("*.dmp")]
    return dump


@pytest.mark.parametrize(
    ("url", "place"),
    [("", "pending"), ("http://127.0.0.1:9/submit", "completed")],
    ids=["has no collector", "its upload failed"],
)
def test_what_crashpad_has_not_sent_itself_arrives_with_its_annotations(
    host, collector, crashes, crashpad_handler, url, place
):
    database = host.folder / "crashpad"
    dump = crashpad(crashpad_handler, database, url)
    assert dump.parent.name == place
    host.point(collector.port, folders=[str(database)])
    assert [done.code for done in host.both()] == [0, 0]
    if place == "pending":
        assert crashes(collector) == [], "its handler may be about to send it"
        long_ago = time.time() - 4000
        os.utime(dump, (long_ago, long_ago))
        assert [done.code for done in host.both()] == [0, 0]
    ((raw, stored),) = crashes(collector)
    assert stored == dump.read_bytes()
    assert (raw["ProductName"], raw["Version"], raw["prod"]) == ("LaeTest", "1.2.3", "LaeTest")
    if place == "pending":
        dump.rename(database / "completed" / dump.name)
        dump.with_suffix(".meta").rename(database / "completed" / f"{dump.stem}.meta")
        host.both()
        assert len(crashes(collector)) == 1, "moved is not crashed again"


def test_what_crashpad_sent_itself_is_not_sent_again(host, collector, crashes, crash_with_crashpad, tmp_path):
    crash_with_crashpad(f"http://127.0.0.1:{collector.port}/submit")
    assert len(crashes(collector)) == 1
    host.point(collector.port, folders=[str(tmp_path / "database0")])
    assert [done.code for done in host.both()] == [0, 0]
    assert len(crashes(collector)) == 1


def test_a_dump_that_is_being_written_is_left_until_it_is_whole(host, collector, crashes):
    host.point(collector.port, settle=0.3)
    writing = subprocess.Popen(
        [sys.executable, "-c",
         "import sys, time\nf = open(sys.argv[1], 'wb', 0)\nf.write(b'MDMP')\n"
         "while True:\n  f.write(b'more'); time.sleep(0.03)", host.dumps / "a.dmp"],
    )  # fmt: skip
    try:
        while not (host.dumps / "a.dmp").exists():
            time.sleep(0.01)
        assert host.find().code == 0
        assert host.waiting() == []
        assert host.send().code == 0
        assert crashes(collector) == []
    finally:
        writing.kill()
        writing.wait()
    host.both()
    ((_, stored),) = crashes(collector)
    assert stored == (host.dumps / "a.dmp").read_bytes()


HOSTILE = [
    b'"\r\nX-Evil: 1\r\n.dmp',
    b"\xff\xfe.dmp",
    b"$(reboot).dmp",
    b"-rf.dmp",
    b"\x1b[31m.dmp",
    "\u202e ü.dmp".encode(),
]


def test_names_are_names_and_nothing_else(host, collector, crashes):
    host.point(collector.port)
    for number, name in enumerate(HOSTILE):
        host.dump(name, b"MDMP%d" % number)
    found, sent = host.both()
    assert (found.code, sent.code) == (0, 0), (found, sent)
    assert sorted(stored for _, stored in crashes(collector)) == [b"MDMP%d" % n for n in range(len(HOSTILE))]
    assert all(set(raw) & {"X-Evil"} == set() for raw, _ in crashes(collector))
    assert sent.said.isascii()
    assert len(sent.said.splitlines()) == len(HOSTILE)
    assert "\x1b" not in sent.said


def test_what_is_no_minidump_stays_on_the_host(host, collector, crashes, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"MDMP the content of a file that a link leads to")
    host.point(collector.port)
    (host.dumps / "link.dmp").symlink_to(secret)
    os.mkfifo(host.dumps / "pipe.dmp")
    (host.dumps / "folder.dmp").mkdir()
    (host.dumps / "gone.dmp").symlink_to("/nowhere")
    (host.dumps / "beside.extra").symlink_to(secret)
    host.dump("text.dmp", b"not a dump")
    host.dump("empty.dmp", b"")
    host.dump("beside.dmp")
    for path in host.dumps.iterdir():
        os.utime(path, (1_790_000_000, 1_790_000_000), follow_symlinks=False)
    found, sent = host.both()
    assert (found.code, sent.code) == (1, 0)
    assert len(found.said.splitlines()) == 6, found.said
    ((raw, stored),) = crashes(collector)
    assert stored == b"MDMP and more"
    assert "content of a file" not in json.dumps(raw)
    assert host.find().said == "", "it is said once"


def test_one_that_cannot_be_read_stops_no_other_and_is_sent_when_it_can(host, collector, crashes):
    host.point(collector.port)
    host.dump("a.dmp", b"MDMP secret").chmod(0)
    host.dump("b.dmp")
    host.under = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    first, second = host.find(), host.find()
    assert (first.code, second.code) == (1, 1)
    assert "a.dmp cannot be reported: Permission denied" in first.said
    assert second.said == ""
    assert host.send().code == 0
    assert [stored for _, stored in crashes(collector)] == [b"MDMP and more"]
    (host.dumps / "a.dmp").chmod(0o600)
    assert [done.code for done in host.both()] == [0, 0]
    assert len(crashes(collector)) == 2


# ---- what is sent --------------------------------------------------------------------------------------------------


def test_a_collector_that_is_away_gets_it_later(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    host.dump("b.dmp", b"MDMPb")
    host.find()
    scripted.answers = [(503, "Discarded=no_space", {"Retry-After": "1000"}), (200, "CrashID=bp-1\n", {})]
    sent = host.send()
    assert sent.code == 75
    assert "not yet sent: 503 Discarded=no_space" in sent.said
    assert (len(scripted.bodies), len(host.waiting())) == (1, 2), "the others wait, too"
    assert host.send() == (75, ""), "not before the time that it said"
    assert len(scripted.bodies) == 1
    waits = json.loads((host.reports / "waits.json").read_text())
    assert 900 < waits[""][1] - time.time() <= 1000
    waits[""][1] = time.time() - 1
    (host.reports / "waits.json").write_text(json.dumps(waits))
    assert host.send().code == 0
    assert (len(scripted.bodies), host.waiting()) == (3, [])


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("", 20, 31), ("7200", 3500, 3601), ("soon", 20, 31), ("-5", 20, 31), ("inf", 20, 31), ("nan", 20, 31),
        (lambda: formatdate(time.time() + 500, usegmt=True), 480, 501),
    ],
)  # fmt: skip
def test_retry_after_is_respected_within_reason(host, scripted, said, least, most):
    host.point(scripted.server_port).dump("a.dmp")
    scripted.answers = [(503, "", {"Retry-After": said() if callable(said) else said})]
    host.both()
    waits = json.loads((host.reports / "waits.json").read_text())
    assert least < waits[""][1] - time.time() < most


def test_one_report_that_always_fails_keeps_no_other_waiting(host, scripted):
    host.point(scripted.server_port)
    for name in "abc":
        host.dump(f"{name}.dmp", b"MDMP" + name.encode())
    host.find()
    scripted.answers = [(500, "", {}), (200, "CrashID=bp-1\n", {})]
    assert host.send().code == 75
    assert (len(scripted.bodies), len(host.waiting())) == (3, 1)


def test_one_report_for_which_the_collector_always_says_that_it_is_busy_lets_the_others_go_first(host, scripted):
    host.point(scripted.server_port)
    for name in "abc":
        host.dump(f"{name}.dmp", b"MDMP" + name.encode())
    host.find()
    first = json.loads((host.reports / host.waiting()[0]).read_text())["dump"]
    scripted.poison = Path(first).read_bytes() + b"\r\n"
    for report in host.reports.glob("*.report"):
        os.utime(report, (when := 1_790_000_000 - 9 * (first in report.read_text()), when))
    assert host.send().code == 75
    assert len(host.waiting()) == 3
    waits = json.loads((host.reports / "waits.json").read_text())
    waits[""][1] = 0
    (host.reports / "waits.json").write_text(json.dumps(waits))
    assert host.send().code == 75
    assert len(host.waiting()) == 1


def test_pauses_grow_and_end(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    host.find()
    pauses = []
    for _ in range(8):
        scripted.answers = [(500, "", {})]
        began = time.time()
        assert host.send().code == 75
        path = host.reports / "waits.json"
        waits = json.loads(path.read_text())
        ((name, (tries, until)),) = waits.items()
        pauses.append(until - began)
        path.write_text(json.dumps({name: [tries, 0]}))
    assert all(one < other for one, other in itertools.pairwise(pauses[:6]))
    assert max(pauses) < 960


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, "Discarded=malformed_no_annotations", {}), "refused: 400 Discarded=malformed_no_annotations"),
        ((415, "Discarded=no_such_encoding", {}), "refused: 415 Discarded=no_such_encoding"),
        ((413, "<html>too large</html>", {}), "refused: 413 <html>too large</html>"),
        ((200, "Discarded=rule_is_old", {}), "refused: 200 Discarded=rule_is_old"),
        ((200, "Unsupported=1\n", {}), "refused: 200 Unsupported=1"),
    ],
)
def test_what_was_refused_is_told_and_not_sent_again_unless_asked(host, scripted, answer, why):
    host.point(scripted.server_port, remove_sent=True).dump("a.dmp")
    scripted.answers = [answer]
    _, sent = host.both()
    assert sent.code == 1
    assert why in sent.said
    assert host.both() == ((0, ""), (0, ""))
    assert len(scripted.bodies) == 1
    assert (host.dumps / "a.dmp").exists()
    assert len(host.refused()) == 1
    scripted.answers = [(200, "CrashID=bp-1\n", {})]
    assert host.send("--again").code == 0
    assert len(scripted.bodies) == 2
    assert host.refused() == host.waiting() == []


def test_nobody_there_is_no_error_of_the_host(host):
    host.point(9).dump("a.dmp")
    _, sent = host.both()
    assert sent.code == 75
    assert "http://127.0.0.1:9/submit does not answer" in sent.said
    assert len(host.waiting()) == 1


def test_killed_between_the_reply_and_the_record_it_is_sent_once_more_and_not_lost(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    host.find()
    host.config.write_text(json.dumps(host.settings))
    program = ROOT / "lae_monitor/node/crash_reporter.py"
    sending = subprocess.Popen(
        [sys.executable, "-I", program, "--config", host.config, "--once"], stderr=subprocess.DEVNULL
    )
    scripted.then = lambda: sending.send_signal(signal.SIGKILL)
    assert sending.wait(60) == -signal.SIGKILL
    scripted.then = lambda: None
    assert len(host.waiting()) == 1
    assert host.send().code == 0
    assert host.waiting() == []
    assert [b"MDMP and more" in gzip.decompress(body) for body in scripted.bodies] == [True, True]
    assert host.both() == ((0, ""), (0, ""))


def test_a_finder_killed_at_any_write_leaves_no_crash_out_and_none_twice(host, collector, crashes):
    """Whatever of the three files was written last: the report, what was found, or a part of one."""
    host.point(collector.port).dump("a.dmp")
    host.find()
    (report,) = host.waiting()
    (host.reports / "found.json").unlink()  # killed before it
    (host.reports / "found.json.part").write_text('{"cur')
    assert host.find().code == 0
    assert host.waiting() == [report], "the same name again"
    assert host.send().code == 0
    assert len(crashes(collector)) == 1


def test_damaged_records_are_told_and_begun_anew(host, collector, crashes):
    host.point(collector.port).dump("a.dmp")
    host.both()
    (host.reports / "found.json").write_text("[]")
    (host.reports / "waits.json").write_text('{"": "x"}')
    (host.reports / f"{'0' * 32}.report").write_text("{}")
    found, sent = host.both()
    assert "begun anew" in found.said
    assert sent.code == 1
    assert len(crashes(collector)) == 2
    assert host.refused() == [f"{'0' * 32}.refused"]


def test_too_large_is_told_and_never_sent(host, scripted):
    host.point(scripted.server_port).dump("large.dmp", b"MDMP" + os.urandom(26 << 20))
    host.dump("small.dmp")
    _, sent = host.both()
    assert "large.dmp: refused: larger than 25 MiB, compressed" in sent.said
    assert len(scripted.bodies) == 1
    assert host.waiting() == []


def test_a_dump_that_compresses_below_the_limit_is_sent(host, scripted):
    host.point(scripted.server_port).dump("large.dmp", b"MDMP" + bytes(40 << 20))
    assert host.both()[1].code == 0
    assert len(scripted.bodies[0]) < 1 << 20


def test_removed_after_acceptance_and_not_before(host, collector):
    host.point(collector.port, remove_sent=True).dump("a.dmp")
    (host.dumps / "a.extra").write_text("{}")
    (host.dumps / "other.extra").write_text("{}")
    host.find()
    assert (host.dumps / "a.dmp").exists()
    host.send()
    assert [path.name for path in host.dumps.iterdir()] == ["other.extra"]


def test_a_dump_that_was_replaced_before_it_was_sent_is_found_anew(host, collector, crashes):
    host.point(collector.port).dump("a.dmp")
    host.find()
    host.dump("a.dmp", b"MDMP another")
    assert "is another file by now" in host.send().said
    host.both()
    assert [stored for _, stored in crashes(collector)] == [b"MDMP another"]


def test_a_dry_run_tells_and_changes_nothing(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    found = host.find("--dry-run")
    assert "a.dmp: Prog" in found.said
    assert not host.reports.exists()
    host.find()
    before = {path: path.stat().st_mtime_ns for path in host.reports.iterdir()}
    sent = host.send("--dry-run")
    assert "would be sent to http://127.0.0.1" in sent.said
    assert {path: path.stat().st_mtime_ns for path in host.reports.iterdir()} == before
    assert scripted.bodies == []


def test_a_token_goes_along_and_is_never_told(host, scripted):
    token = host.folder / "token"
    token.write_text("hidden-word\n")
    host.point(scripted.server_port, token_file=str(token)).dump("a.dmp")
    found, sent = host.both()
    assert scripted.heads[0]["Authorization"] == "Bearer hidden-word"
    assert "hidden-word" not in found.said + sent.said + host.config.read_text()


def test_a_test_report_says_that_it_is_one(host, collector, crashes):
    host.point(collector.port)
    assert host.send("--test").code == 0
    ((raw, stored),) = crashes(collector)
    assert (raw["ProductName"], stored) == ("lae-test", None)
    assert host.point(9).send("--test").code == 75


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "monitoring.example"}, "give the collector's"),
        ({"token_file": "/nowhere"}, "wrong configuration"),
        ({}, "--url None"),
    ],
)
def test_a_wrong_configuration_is_said(host, settings, sentence):
    host.settings |= settings
    done = host.send()
    assert done.code == 78
    assert sentence in done.said


# ---- core dumps ----------------------------------------------------------------------------------------------------

STACK = "Stack trace of thread 7:\n#0  0x00007f1 boom (/usr/bin/true + 0x11)\n#1  0x00007f2 main (true + 0x1)"


def entry(number, **fields):
    return {
        "__CURSOR": f"s=1;i={number}", "__REALTIME_TIMESTAMP": "1790000000000000", "COREDUMP_EXE": "/usr/bin/true",
        "COREDUMP_COMM": "true", "COREDUMP_SIGNAL": "11", "COREDUMP_SIGNAL_NAME": "SIGSEGV", "COREDUMP_PID": "7",
        "COREDUMP_TIMESTAMP": "1790000001000000", "COREDUMP_ENVIRON": "PASSWORD=secret", "COREDUMP_CMDLINE": "true --secret",
        "COREDUMP_CWD": "/secret", "MESSAGE": f"Process 7 (true) of user 0 dumped core.\n\n{STACK}", **fields,
    }  # fmt: skip


@pytest.fixture
def journal(host):
    """A journal that holds the given entries, and answers as `journalctl --output=json --after-cursor` does."""

    def write(*entries):
        lines = "".join(json.dumps(one) + "\n" if isinstance(one, dict) else one for one in entries)
        (host.folder / "journal.json").write_text(lines)
        program = host.folder / "journalctl.py"
        program.write_text(
            "import json, sys\n"
            "after = [w.partition('=')[2] for w in sys.argv if w.startswith('--after-cursor=')]\n"
            "for line in open(sys.argv[1]):\n"
            "    if after:\n        after = [] if after[0] in line else after\n        continue\n"
            "    sys.stdout.write(line)\n"
        )
        command = f"{sys.executable} {program} {host.folder / 'journal.json'}"
        host.settings |= {"core_dumps": True, "journal_command": command}

    return write


def test_a_core_dump_is_reported_without_what_is_private(host, collector, crashes, journal):
    journal(entry(1))
    host.point(collector.port)
    found, sent = host.both()
    assert (found.code, sent.code) == (0, 0), (found, sent)
    ((raw, stored),) = crashes(collector)
    assert stored is None
    assert (raw["ProductName"], raw["CrashTime"], raw["Signal"]) == ("true", "1790000001", "SIGSEGV")
    assert raw["MozCrashReason"] == "SIGSEGV in boom"
    assert raw["StackTrace"] == STACK
    assert (raw["Executable"], raw["COREDUMP_PID"], raw["Hostname"]) == ("/usr/bin/true", "7", os.uname().nodename)
    assert "secret" not in json.dumps(raw)
    assert host.both() == ((0, ""), (0, ""))
    journal(entry(1), entry(2), entry(3))
    host.both()
    assert len(crashes(collector)) == 3


def test_the_version_is_the_packages(host, collector, crashes, journal):
    program = "/usr/bin/dpkg-query"
    if not Path(program).exists():
        pytest.skip("no Debian")
    version = subprocess.run(
        [program, "-W", "-f", "${Version}", "coreutils"], capture_output=True, text=True, check=True
    )
    journal(entry(1))
    host.point(collector.port).both()
    ((raw, _),) = crashes(collector)
    assert raw["Version"] == version.stdout


def test_the_package_of_a_program_is_looked_up_once_a_run(host, journal, monkeypatch, tmp_path):
    program = Path("/usr/bin/dpkg-query")
    if not program.exists():
        pytest.skip("no Debian")
    counting = tmp_path / "bin" / program.name
    counting.parent.mkdir()
    counting.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\nexec {program} "$@"\n')
    counting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{counting.parent}:{os.environ['PATH']}")
    journal(*(entry(number) for number in range(5)), *(entry(number, COREDUMP_EXE="/none") for number in range(5, 9)))
    host.point(9).find()
    versions = [json.loads(path.read_text())["annotations"]["Version"] for path in host.reports.glob("*.report")]
    assert (len(versions), versions.count("unknown")) == (9, 4)
    assert len((tmp_path / "asked").read_text().split()) <= 5  # two names of each program, and one package


def test_environment_and_command_line_are_reported_when_asked_for(host, collector, crashes, journal):
    journal(entry(1))
    host.point(collector.port, environ=True, cmdline=True).both()
    ((raw, _),) = crashes(collector)
    assert (raw["COREDUMP_ENVIRON"], raw["COREDUMP_CMDLINE"]) == ("PASSWORD=secret", "true --secret")
    assert "COREDUMP_CWD" not in raw


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("0x00007f011a903ad8 n/a (libc.so.6 + 0x167ad8)", "SIGSEGV in libc.so.6 + 0x167ad8"),
        ("0x0000000000518843 _PyObject_MakeTpCall (python3.11 + 0x118843)", "SIGSEGV in _PyObject_MakeTpCall"),
        ("0x0000000000000000 n/a (n/a + 0x0)", "SIGSEGV"),
    ],
)
def test_the_reason_says_where_as_far_as_systemd_coredump_knows(host, collector, crashes, journal, frame, reason):
    journal(
        entry(
            1,
            MESSAGE=f"Process 7 (true) of user 0 dumped core.\n\nStack trace of thread 7:\n#0  {frame}\n#1  0x1 main (a + 0x1)",
        )
    )
    host.point(collector.port).both()
    assert crashes(collector)[0][0]["MozCrashReason"] == reason


def test_odd_entries_stop_no_other(host, collector, crashes, journal):
    journal(
        "no json\n", "[]\n", {"MESSAGE": "no cursor"}, entry(1, COREDUMP_TIMESTAMP="x"),
        entry(2, COREDUMP_EXE=list(b"/usr/bin/\xff"), COREDUMP_COMM=["a", "b"], MESSAGE=None), entry(3, COREDUMP_EXE="/gone (deleted)"),
    )  # fmt: skip
    found, sent = host.point(collector.port).both()
    assert found.said.count("is not understood") == 4
    assert sent.code == 0
    assert sorted(raw["ProductName"] for raw, _ in crashes(collector)) == ["gone", "\ufffd"]


def test_core_dumps_wait_in_the_journal_while_many_wait_to_be_sent(host, scripted, journal):
    journal(*(entry(number) for number in range(230)))
    host.point(9)
    assert "further core dumps wait in the journal" in host.find().said
    assert len(host.waiting()) == 200
    host.point(scripted.server_port).send()
    host.find()
    host.send()
    assert len(scripted.bodies) == 230


def test_a_host_without_a_journal_still_reports_its_dumps(host, collector, crashes):
    host.point(collector.port, core_dumps=True, journal_command="/nowhere/journalctl").dump("a.dmp")
    found, sent = host.both()
    assert (found.code, sent.code) == (1, 0)
    assert "no core dumps are reported" in found.said
    assert len(crashes(collector)) == 1


def test_a_dump_says_what_its_crashpad_says_also_when_it_is_damaged(host, collector, crashes):
    """Streams that lead nowhere, or back to themselves."""
    host.point(collector.port)
    for number, directory in enumerate((12, 2**32 - 1, 16)):
        data = struct.pack("<4sIII", b"MDMP", 0xA793, 2**32 - 1, directory) + struct.pack("<III", 0x43500001, 8, 0) * 3
        host.dump(f"{number}.dmp", data)
    assert [done.code for done in host.both()] == [0, 0]
    assert len(crashes(collector)) == 3

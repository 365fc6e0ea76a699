"""A classifier costs its own opinion at most, whatever it does; and flogtool's own give what flogtool says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from flogs import ask, flog, sources

from lae_monitor.kinds.incidents.classify.process import STRIKES

GOOD = ("good", "def classify_incident(trigger): return 'good'")
TRIGGER = {"umid": "aaaaaa", "message": "boo", "level": 30, "num": 3}
FILE = flog(TRIGGER)


def bad(body, head=""):
    return ("bad", f"{head}\ndef classify_incident(trigger):\n    {body}\n")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise KeyError('x')", "KeyError: 'x', line 3"),
        ("raise SystemExit(3)", "SystemExit: 3, line 3"),
        ("return trigger['no']", "KeyError: 'no', line 3"),
        ("return 7", "answered int: it has to be text, or a list of texts"),
        ("return {'a': 1}", "answered dict"),
        ("return ['a'] * 51", "answered list"),
        ("return [3]", "answered int: a category is "),
        ("return 'a/b'", "answered 'a/b': a category is "),
        ("return '../../x'", "answered '../../x'"),
        ("return 'x' * 10000000", "answered 'xxx"),
        ("return 'Not This'", "answered 'Not This'"),
        ("return classify_incident(trigger)", "RecursionError: "),
        ("return 'x' * (1 << 40)", "MemoryError"),
        ("return b'bytes'", "answered bytes"),
        ("import os; os._exit(3)", "ended the process that classifies (exit code 3)"),
        ("import os; os.kill(os.getpid(), 11)", "ended the process that classifies (SIGSEGV)"),
        ("import os; os.closerange(0, 99)", "ended the process that classifies"),
        ("return 'x' if trigger.has_key('umid') else ''", "(written for Python 2? use `in`)"),
        ("return unicode('x')", "(written for Python 2? text is str)"),
        ("return [k for k, v in trigger.iteritems()]", "(written for Python 2? use .items())"),
        ("import urllib2", "(written for Python 2? use urllib.request)"),
    ],
)
def test_a_bad_classifier_costs_its_own_opinion(body, why):
    loaded, opinions, _ = ask(sources("", bad(body), GOOD), FILE, FILE)
    assert loaded.broken == {}
    for opinion in opinions:
        assert opinion.categories == ["good"]
        assert opinion.error == ""
        assert why in opinion.failed["classify_bad.py"]
        assert "classify_good.py" not in opinion.failed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("print 'x'", "(written for Python 2? write print(...))"),
        ("try: pass\nexcept KeyError, e: pass", "(written for Python 2? write `except X as e`)"),
        ("x = 0777", "(written for Python 2? write 0o777)"),
        ("import ConfigParser", "(written for Python 2? use configparser)"),
        ("x = 3", "does not define classify_incident(trigger)"),
        ("classify_incident = 3", "does not define classify_incident(trigger)"),
        ("raise SystemExit", "SystemExit, line 1"),
        ("x = ", "SyntaxError: invalid syntax, line 1"),
        ("\0", "null bytes"),
    ],
)
def test_a_file_that_is_no_classifier_is_named_and_the_others_work(text, why):
    loaded, (opinion,), _ = ask(sources("", ("bad", text), GOOD), FILE)
    assert list(loaded.broken) == ["classify_bad.py"]
    assert why in loaded.broken["classify_bad.py"]
    assert opinion.categories == ["good"]


@pytest.mark.parametrize(
    "body",
    [
        "import time; time.sleep(1e6)",
        "while True: pass",
        "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
        "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(1e6)",
        "import subprocess; subprocess.run(['sleep', '100000'])",
    ],
)
def test_what_hangs_is_killed_and_asked_no_more_after_a_few_times(body):
    _, opinions, classifier = ask(sources("", bad(body), GOOD), *[FILE] * (STRIKES + 1), limit=1.0)
    assert [opinion.categories for opinion in opinions] == [["good"]] * (STRIKES + 1)
    assert [opinion.failed for opinion in opinions] == [{"classify_bad.py": "took longer than 1 s"}] * STRIKES + [{}]
    assert classifier.given_up == ["classify_bad.py"]


def test_a_file_that_hangs_when_it_is_loaded_is_left_out():
    given = sources("", ("bad", "while True: pass"), GOOD)
    loaded, (opinion,), _ = ask(given, FILE, start=4.0)
    assert loaded.broken == {"classify_bad.py": "took longer than 4 s"}
    assert opinion.categories == ["good"]


SLOW = """
[[rule]]
name = "quick"
category = "quick"
umid = "aaaaaa"

[[rule]]
name = "hot"
category = "hot"
{key} = '^((a|a){{9}}){{9}}b'
"""


@pytest.mark.parametrize("key", ["message", "event.message"])
def test_a_regular_expression_that_never_ends_is_named_and_left_out(key):
    hot = flog({**TRIGGER, "message": "a" * 99})
    _, (opinion, cool), _ = ask(
        sources(SLOW.format(key=key), GOOD), hot, flog({**TRIGGER, "message": "a" * 81 + "b"}), limit=1.0
    )
    assert opinion.categories == ["good", "quick"]
    assert opinion.failed == {"rule hot": "took longer than 0.25 s"}
    assert cool.categories == ["good", "hot", "quick"]


def test_a_search_that_was_stopped_a_few_times_is_tried_no_more():
    hot = flog({**TRIGGER, "message": "a" * 99})
    _, opinions, classifier = ask(sources(SLOW.format(key="message")), *[hot] * (STRIKES + 1), limit=1.0)
    assert [list(opinion.failed) for opinion in opinions] == [["rule hot"]] * STRIKES + [[]]
    assert classifier.given_up == ["rule hot"]


def test_a_slow_step_is_told_with_its_seconds():
    _, (opinion,), _ = ask(sources("", bad("import time; time.sleep(0.4); return 'slow'"), GOOD), FILE)
    assert opinion.categories == ["good", "slow"]
    assert list(opinion.slow) == ["classify_bad.py"]
    assert opinion.slow["classify_bad.py"] >= 0.4


def test_what_a_classifier_prints_reads_and_changes_harms_nobody():
    noisy = bad(
        "sys.stdout.write('x' * 3000000); sys.stdout.flush(); os.write(1, b'y' * 1000000); n = sys.stdin.read(); "
        "trigger.clear(); return 'noisy'",
        "import os, sys",
    )
    last = ("last", "def classify_incident(trigger): return 'u-' + trigger['umid']")
    _, opinions, _ = ask(sources("", noisy, last), FILE, FILE)
    assert [opinion.categories for opinion in opinions] == [["noisy", "u-aaaaaa"]] * 2


def test_the_child_inherits_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        look = bad(
            "found = [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') "
            "if os.path.exists(f'/proc/self/fd/{n}')]; "
            "return ['file' if any('open' in one for one in found) else 'no-file', "
            "'secret' if 'SECRET_TOKEN' in os.environ else 'no-secret']",
            "import os",
        )
        _, (opinion,), _ = ask(sources("", look), FILE)
    assert opinion.categories == ["no-file", "no-secret"]


def test_empty_answers_are_no_opinion():
    given = [(name, f"def classify_incident(t): return {answer}") for name, answer in
             (("a", "None"), ("b", "''"), ("c", "[]"), ("d", "['one', 'two']"), ("e", "('one', 'three')"))]  # fmt: skip
    _, (opinion,), _ = ask(sources("", *given), FILE)
    assert opinion.categories == ["one", "three", "two"]
    assert opinion.failed == {}


@pytest.mark.parametrize("data", [b"", b"BZh9", FILE[:40], b"(dp0\n", os.urandom(999), b"# foolscap flogfile v1\n{}\n"])
def test_a_file_that_is_no_incident_is_an_error_and_the_next_is_read(data):
    _, (wrong, right), _ = ask(sources("", GOOD), data, FILE)
    assert wrong.error.startswith("unreadable: ")
    assert right.categories == ["good"]


def test_flogtool_says_the_same(tmp_path):
    """The real one, on real classifiers; ours are asked by way of the command line."""
    (tmp_path / "classify_a.py").write_text(
        "import re\nmap = {'aaaaaa': 'known-umid'}\n"
        "def classify_incident(trigger):\n"
        "    if trigger.get('umid') in map: return map[trigger['umid']]\n"
        "    if re.search('lost', trigger.get('message', '')): return ['lost', 'connection']\n"
    )
    (tmp_path / "classify_b.py").write_text(
        "def classify_incident(trigger):\n    return 'bad' if trigger.get('level', 20) >= 40 else None\n"
    )
    (tmp_path / "no_classifier.py").write_text("raise SystemExit")
    triggers = [
        TRIGGER, {**TRIGGER, "level": 40}, {"message": "we lost it", "level": 40}, {"message": "x", "level": 30},
        {"format": "hello %(who)s", "who": "wörld", "level": 30, "failure": {"@": "Failure", "str": "a\nb"}},
    ]  # fmt: skip
    for number, trigger in enumerate(triggers):
        (tmp_path / f"incident-{number}.flog.bz2").write_bytes(flog(trigger))
    files = [f"incident-{number}.flog.bz2" for number in range(len(triggers))]
    bin_ = Path(sys.executable).parent

    def run(*command):
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    for verbose in ((), ("-v",)):
        theirs = run(bin_ / "flogtool", "classify-incident", *verbose, "-c", ".", *files)
        ours = run(bin_ / "lae-monitor", "incidents", "classify", "--rules", "none", *verbose, "-c", ".", *files)
        assert (theirs.returncode, ours.returncode) == (0, 0), (theirs.stderr, ours.stderr)
        assert ours.stdout == theirs.stdout
        assert "incident-1.flog.bz2: bad,known-umid\n" in ours.stdout
        assert "incident-3.flog.bz2: unknown\n" in ours.stdout

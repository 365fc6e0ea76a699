"""`flogtool tail`, and our own, of a node that only connects to us: live, bounded, revocable, and nobody else's."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gatherer_process import HERE
from logs_gatherer import await_subscribers, log_gatherer_in

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One gatherer that keeps no logs, for tests with hosts of their own."""
    with log_gatherer_in(tmp_path_factory.mktemp("tails"), "") as made:
        yield made.start()


def flogtool_tail(gatherer, furl, *options):
    return gatherer.run([str(BIN / "flogtool"), "tail", *options, furl], "flogtool-tail")


def our_tail(gatherer, host, *options):
    command = [str(BIN / "lae-monitor"), "--config", str(gatherer.config), "fleet", "tail", host, *options]
    return gatherer.run(command, "our-tail")


def connected(gatherer, host):
    program = gatherer.program(host)
    gatherer.await_journal(what="mark", host=host, title="node connected to the incident gatherer")
    return program


def test_flogtool_tails_a_node_through_us(running, tmp_path):
    program = connected(running, "tailed")
    saved = tmp_path / "saved.flog"
    tail = flogtool_tail(running, running.tail_furl("tailed").furl.reveal(), "--catch-up", f"--save-to={saved}")
    tail.await_output("Connected (to pid ")
    tail.await_output("foolscap: ")
    tail.await_output("before anybody listened")
    program.send(message="seen live", level=23)
    tail.await_output("L23 []#")
    tail.await_output("seen live")
    program.send(do="strange")
    tail.await_output("failure as text")
    tail.await_output("exceptions.ValueError" if "exceptions.ValueError" in tail.output() else "ValueError")
    assert "strange" in tail.output(), "the traceback comes along"
    assert tail.output().count("before anybody listened") == 1
    running.await_that(lambda: b"seen live" in saved.read_bytes(), "saved")
    tail.kill(signal.SIGINT)
    await_subscribers(program, 0)


def test_a_furl_file_will_do_and_a_tail_ends_when_it_is_removed(running):
    program = connected(running, "revoked")
    made = running.tail_furl("revoked")
    assert made.path.stat().st_mode & 0o077 == 0
    tail = flogtool_tail(running, str(made.path))
    await_subscribers(program, 1)
    made.path.unlink()
    tail.await_output("was revoked: it ends here")
    await_subscribers(program, 0)
    program.send(message="not for him", level=30)
    program.await_output("did None")
    again = flogtool_tail(running, made.furl.reveal())
    running.await_journal(reason="unknown_furl")
    assert "Connected" not in again.output()
    assert "not for him" not in tail.output()


def test_a_tail_furl_lets_nobody_report_and_a_host_furl_lets_nobody_read(running):
    connected(running, "apart")
    tail = flogtool_tail(running, running.register("apart").furl.reveal())
    tail.await_output("ERROR")
    folder = str(running.folder / "intruder-logs")
    furl = running.tail_furl("apart").furl.reveal()
    intruder = running.run([sys.executable, str(HERE / "logs_publisher.py"), furl, folder], "intruder")
    intruder.send(message="as somebody else", level=30)
    intruder.await_output("did None")
    tail = our_tail(running, "apart", "--catch-up")
    tail.await_output("before anybody listened")
    assert "subscribers 1" not in intruder.output()
    assert len(running.journal(what="mark", host="apart", title="node connected to the incident gatherer")) == 1


def test_a_tail_outlasts_its_node_and_shows_nothing_twice(running):
    program = connected(running, "leaves")
    tail = our_tail(running, "leaves", "--catch-up")
    tail.await_output("before anybody listened")
    program.send(message="first", level=30)
    tail.await_output("first")
    program.send(do="leave")
    tail.await_output("has left")
    await_subscribers(program, 1)
    program.send(message="second", level=30)
    tail.await_output("second")
    assert tail.output().count("before anybody listened") == 1
    assert tail.output().count("first") == 1
    program.kill()
    tail.await_output("has left", 2)
    another = connected(running, "leaves")
    tail.await_output("before anybody listened", 2)
    another.send(message="of another run", level=30)
    tail.await_output("of another run")
    assert tail.kill(signal.SIGINT) == 0
    await_subscribers(another, 0)


def test_our_tail_shows_levels_without_secrets(running):
    program = connected(running, "ours")
    tail = our_tail(running, "ours", "--level", "weird")
    await_subscribers(program, 1)
    program.send(message="too low", level=20)
    program.send(
        message="kept pb://ddddddddddddddddddddddddddddddd2@tcp:1.2.3.4:5/secretsecret", level=30, facility="a/b"
    )
    tail.await_output("WEIRD a/b: kept pb://ddddddddddddddddddddddddddddddd2@tcp:1.2.3.4:5/***")
    program.send(do="strange")
    tail.await_output("ValueError: of pb://")
    assert "secretsecret" not in tail.output()
    assert "too low" not in tail.output()
    tail.await_log("Ctrl-C ends")
    assert tail.kill(signal.SIGINT) == 0
    assert "Traceback" not in tail.log()
    as_json = our_tail(running, "ours", "--json")
    await_subscribers(program, 1)
    program.send(message="in JSON", level=30, umid="jSoN01")
    as_json.await_output("in JSON")
    lines = [json.loads(line) for line in as_json.output().splitlines()]
    (line,) = [line for line in lines if line["message"] == "in JSON"]
    assert line["level"] == "WEIRD"
    assert line["umid"] == "jSoN01"


def test_a_tail_that_reads_nothing_loses_events_and_is_told_how_many(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start({"kinds.incidents.tail.relay.MAX_QUEUE": 50})
        program = connected(gatherer, "node1")
        slow = flogtool_tail(gatherer, gatherer.tail_furl("node1").furl.reveal())
        await_subscribers(program, 2)
        slow.await_output("is followed")
        os.killpg(slow.child.pid, signal.SIGSTOP)
        program.send(do="many", count=300, level=20)
        program.send(message="the last one", level=20)
        gatherer.await_messages("node1", "the last one")
        os.killpg(slow.child.pid, signal.SIGCONT)
        slow.await_output("events were left out: they came faster than they were read")
        program.send(message="read again", level=20)
        slow.await_output("read again")
        shown = slow.output()
        left_out = sum(map(int, re.findall(r"(\d+) events were left out", shown)))
        kept = shown.count("of many") + shown.count("the last one")
        assert left_out + kept == 301
        assert kept >= 10


def test_only_so_many_tails_of_a_host(running):
    program = connected(running, "many")
    furl = running.tail_furl("many").furl.reveal()
    tails = [flogtool_tail(running, furl) for _ in range(4)]
    await_subscribers(program, 4)
    refused = flogtool_tail(running, furl)
    refused.await_output("this tail shows nothing: there are 4 tails of this host already")
    tails[0].kill()
    await_subscribers(program, 3)
    next_one = flogtool_tail(running, furl)
    next_one.await_output("is followed")


def test_a_tail_waits_for_a_node_that_is_not_there(running):
    tail = flogtool_tail(running, running.tail_furl("absent").furl.reveal())
    tail.await_output("none is connected")
    program = connected(running, "absent")
    await_subscribers(program, 1)
    program.send(message="there at last", level=30)
    tail.await_output("there at last")


def test_incidents_can_be_had_through_us(running):
    """With a client of Foolscap: list, get, subscribe, unsubscribe."""
    program = connected(running, "incidents")
    program.send(message="an incident", level=30)
    (name,) = running.await_names("incidents", 1)
    client = running.run(
        [sys.executable, str(HERE / "tail_incidents_client.py"), running.tail_furl("incidents").furl.reveal()], "client"
    )
    client.await_output(f"listed {name}")
    client.await_output(f"got {name} incident an incident")
    client.await_output("refused")
    client.await_output(f"announced {name} an incident")
    client.await_output("caught up")
    program.send(message="another incident", level=30)
    client.await_output("another incident")
    client.await_output("unsubscribed")


def test_print_furl_says_the_command(running):
    done = subprocess.run(
        [BIN / "lae-monitor", "--config", running.config, "fleet", "tail", "printed", "--print-furl"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    made = running.tail_furl("printed")
    assert done.stdout.strip() == made.furl.reveal()
    assert f"Next: flogtool tail {made.path}" in done.stderr
    assert made.furl.reveal() not in done.stderr
    assert made.furl.swissnum.reveal() != running.register("printed").furl.swissnum.reveal()


def test_without_a_gatherer_the_command_says_so(tmp_path):
    with log_gatherer_in(tmp_path, "") as gatherer:
        tail = our_tail(gatherer, "node1")
        assert tail.child.wait(60) == 69
        assert "no incident gatherer answers here" in tail.log()
        assert "Next: " in tail.log()

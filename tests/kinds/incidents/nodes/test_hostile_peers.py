"""Who speaks Banana as no node does is bounded in memory and in words, and costs no other host an incident."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


def attack(gatherer, worst, count):
    furl = gatherer.register(worst.replace("_", "-")).furl.reveal()
    logs = gatherer.folder / worst
    logs.mkdir()
    return gatherer.run([sys.executable, str(HERE / "hostile_peer.py"), furl, str(logs), worst, str(count)], worst)


def somebody_else_reports(gatherer):
    node = gatherer.publisher(gatherer.register("neighbour").furl)
    node.await_output("asked since")
    node.send(message="good", level=30)
    gatherer.await_names("neighbour", 1)


@pytest.mark.parametrize(
    ("worst", "most"), [pytest.param("many_values", 300, marks=pytest.mark.full), ("many_values_slowly", 220)]
)
def test_an_answer_that_grows_when_it_is_decoded_is_refused(running, worst, most):
    running.forget_peak()
    attack(running, worst, 2_900_000)
    (refused, *_) = running.await_journal(
        1, verdict="refused", reason="incident_too_large", host=worst.replace("_", "-")
    )
    assert refused["id"] == "incident-2026-11-20--10-00-01Z-abcdefg"
    somebody_else_reports(running)
    assert running.memory("VmHWM") < most


def test_a_call_that_is_never_ready_holds_up_no_others_and_keeps_nothing(running):
    before = running.memory()
    running.forget_peak()
    peer = attack(running, "holds_itself", 200)
    running.process.await_log("calls with what holds itself")
    peer.await_output("asked since", 2)  # cut, and back
    somebody_else_reports(running)
    assert running.memory("VmHWM") - before < 40


def test_who_reads_nothing_is_not_read_from(running):
    peer = attack(running, "never_reads", 6_000)
    peer.await_output("asked since")
    before = running.memory()

    def grew_or_rests():
        worked = cpu(running)
        time.sleep(1)
        return running.memory() - before > 12 or cpu(running) - worked < 0.1

    running.await_that(grew_or_rests, "it neither rests nor grows")
    assert running.memory() - before < 12
    somebody_else_reports(running)


def cpu(gatherer):
    """Seconds that it has worked."""
    spent = Path(f"/proc/{gatherer.process.child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")


def test_who_does_wrong_again_and_again_fills_no_log(running):
    peer = attack(running, "nonsense", 5_000)
    peer.await_output("sent")
    somebody_else_reports(running)
    assert len(running.process.log()) < 200_000


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_an_identity_that_is_damaged_is_a_reason_and_no_traceback(gatherer, cut):
    gatherer.register("node1")
    pem = gatherer.state / "credentials" / "incidents" / "gatherer.pem"
    pem.write_bytes(pem.read_bytes()[: int(len(pem.read_bytes()) * cut)])
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config), "gather", "incidents"],
        capture_output=True, text=True, timeout=60, check=False, cwd=HERE.parents[2],
    )  # fmt: skip
    assert done.returncode == 69, done.stderr
    assert "gatherer.pem" in done.stderr
    assert "Traceback" not in done.stderr

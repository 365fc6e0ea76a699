"""`gather incidents --stock DIR` takes the place of flogtool's gatherer: no node is told anything, nothing comes twice."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.kinds.incidents.config import Settings
from lae_monitor.kinds.incidents.takeover.stock import StillRunning, look, take_over
from lae_monitor.net.tubs.identity import HANDED, identity

sys.path.insert(0, str(Path(__file__).parents[1]))

from flogtool_gatherer import Flogtool, publisher

IDENTITY, HANDED_FURL = "incidents-gatherer.pem", "incidents-log_gatherer.furl"  # as roles name the credentials
STARTS = 2
EX_TRY_AGAIN, EX_CONFIG, EX_UNAVAILABLE = 75, 78, 69


class Stock:
    """flogtool's gatherer, which was stopped, and a configuration that says nothing of it."""

    def __init__(self, gatherer):
        self.gatherer = gatherer
        self.logs = gatherer.folder / "storage"
        self.flogtool = Flogtool(
            gatherer.folder / "old", gatherer.free_port(), gatherer.run, gatherer.await_that
        ).start()
        self.flogtool.live(self.logs, STARTS, "tcp:storage7.example:3456")
        self.flogtool.stop()
        self.write()

    @property
    def folder(self):
        return self.flogtool.folder

    def write(self, more=""):
        self.gatherer.config.write_text(
            f'[state]\npath = "{self.gatherer.state}"\n[archive]\nreserve = "1 MiB"\n[gatherers.incidents]\n{more}'
        )

    def start(self, *environ):
        words = ["env", *environ, sys.executable, "-m", "lae_monitor", "--config", str(self.gatherer.config)]
        self.gatherer.process = self.gatherer.run([*words, "gather", "incidents", "--stock", str(self.folder)], "stock")
        return self.gatherer.process

    def listening(self):
        self.start().await_log("tub listening on")
        return self.gatherer.process

    def stop(self):
        assert self.gatherer.process.kill(signal.SIGTERM) == 0, self.gatherer.process.log()

    def stored(self):
        """Where each incident is, by its name."""
        top = self.gatherer.state / "archive/incidents/lae/incidents"
        found = {}
        for path in top.glob("*/*.flog.bz2"):
            found.setdefault(path.name.removesuffix(".flog.bz2"), []).append(path.parent.name)
        return found

    def credentials(self):
        folder = self.gatherer.state / "credentials/incidents"
        return {name: (folder / name).read_bytes() for name in ("gatherer.pem", "log_gatherer.furl")}


@pytest.fixture
def stock(gatherer):
    return Stock(gatherer)


# ---- in its place --------------------------------------------------------------------------------------------------


def test_a_node_goes_on_with_the_furl_that_it_has_and_old_incidents_are_there_once(stock):
    before = stock.flogtool.state()
    old = stock.flogtool.names()
    process = stock.listening()
    assert f":{stock.flogtool.port}," in process.log(), "it listens where flogtool did"
    assert stock.credentials()["gatherer.pem"] == (stock.folder / "gatherer.pem").read_bytes()
    assert stock.credentials()["log_gatherer.furl"].decode().strip() == stock.flogtool.furl
    assert sorted(stock.stored()) == old
    node = publisher(stock.gatherer.run, stock.flogtool.furl, stock.logs)
    node.await_output("asked since")
    node.send(message="trouble after the move", level=30)
    stock.gatherer.await_that(lambda: len(stock.stored()) == len(old) + 1, process.log)
    (new,) = stock.stored().keys() - set(old)
    assert f"asked {new}" in node.output()
    assert stock.stored()[new] == ["127.0.0.1"], "a node that nobody has claimed is named by its address"
    assert all(len(hosts) == 1 for hosts in stock.stored().values()), stock.stored()
    assert stock.flogtool.state() == before


def test_its_files_are_0600_and_a_key_that_others_could_read_is_told(stock):
    process = stock.listening()
    assert stat.S_IMODE((stock.folder / "gatherer.pem").stat().st_mode) == 0o644, "as flogtool leaves it"
    for name in stock.credentials():
        path = stock.gatherer.state / "credentials/incidents" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"chmod 600 {stock.folder}/gatherer.pem" in process.log()
    secret = Furl(stock.flogtool.furl).swissnum.reveal()
    assert secret not in process.log() + process.output()
    assert "PRIVATE" not in process.log() + process.output()


def test_again_nothing_changes(stock):
    stock.listening()
    stock.stop()
    credentials, stored = stock.credentials(), stock.stored()
    process = stock.listening()
    assert "imported" not in process.log() + process.output()
    stock.stop()
    assert (stock.credentials(), stock.stored()) == (credentials, stored)


def test_it_says_how_to_have_it_so_without_the_option_and_then_it_is_so(stock):
    process = stock.listening()
    said = re.search(r"write into \[gatherers\.incidents\]:\n((?:    \w+ = .*\n)+)", process.log())[1]
    assert {line.split()[0] for line in said.splitlines()} == {"listen", "location", "unregistered"}
    stock.stop()
    stock.write(said)
    words = [sys.executable, "-m", "lae_monitor", "--config", str(stock.gatherer.config), "gather", "incidents"]
    stock.gatherer.process = stock.gatherer.run(words, "gather")
    stock.gatherer.process.await_log("tub listening on")
    node = publisher(stock.gatherer.run, stock.flogtool.furl, stock.logs)
    node.await_output("asked since")


def test_more_old_incidents_than_can_be_waited_for_do_not_delay_listening(stock):
    tub = stock.folder / "incidents" / ("b" * 32)
    tub.mkdir()
    (packed, *_) = stock.flogtool.files()
    for number in range(3000):
        (tub / f"incident-2026-11-20--10-00-00Z-{number:07}.flog.bz2").write_bytes(packed.read_bytes())
    script = "import lae_monitor.kinds.incidents.takeover.commands as stock; stock.PATIENCE = 0.1; from lae_monitor.cli import main; main()"
    words = [sys.executable, "-c", script, "--config", str(stock.gatherer.config), "gather", "incidents"]
    process = stock.gatherer.process = stock.gatherer.run([*words, "--stock", str(stock.folder)], "stock")
    process.await_log("tub listening on")
    assert len(stock.stored()) < 3000 + STARTS
    stock.gatherer.await_that(lambda: len(stock.stored()) == 3000 + STARTS, process.log)


# ---- in the way ----------------------------------------------------------------------------------------------------


def ended(process, code):
    assert process.child.wait(60) == code, process.log()
    assert "Traceback" not in process.log()
    return process.log()


def test_while_flogtools_gatherer_runs_it_does_not_start(stock):
    stock.flogtool.start()
    said = ended(stock.start(), EX_TRY_AGAIN)
    assert f"still runs in {stock.folder}, as process {(stock.folder / 'twistd.pid').read_text().strip()}" in said
    assert not (stock.gatherer.state / "credentials").exists()


def test_a_port_that_is_taken_is_told(stock):
    with socket.create_server(("127.0.0.1", stock.flogtool.port)):
        said = ended(stock.start(), EX_UNAVAILABLE)
    assert "Address already in use" in said
    assert "ss -ltnp" in said


def test_another_identity_than_ours_is_refused(stock):
    kept = stock.gatherer.state / "credentials/incidents/gatherer.pem"
    kept.parent.mkdir(parents=True)
    mine = identity(kept).pem
    said = ended(stock.start(), EX_CONFIG)
    assert f"{kept} is another identity than the one handed over" in said
    assert kept.read_bytes() == mine


# ---- what the folder says, what the configuration says ---------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A gatherer's folder after its first run, without the run."""
    folder = tmp_path_factory.mktemp("kept")
    who = identity(folder / "gatherer.pem")
    (folder / "log_gatherer.furl").write_text(f"pb://{who.tub_id}@tcp:gather.example:3118/{'s' * 32}\n")
    (folder / "port").write_text("tcp:3118\n")
    (folder / "location").write_text("tcp:gather.example:3118\n")
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return Path(shutil.copytree(kept, tmp_path / "old"))


def taken(folder, tmp_path, given=(), **settings):
    credentials = tmp_path / "credentials"
    credentials.mkdir(exist_ok=True)
    return take_over(look(folder), credentials, Settings(**settings), given)


def test_what_the_folder_says_counts_where_the_configuration_says_nothing(folder, tmp_path):
    (folder / "port").write_text("tcp:3119:interface=127.0.0.1\n")
    (folder / "classify_own.py").write_text("")
    found = taken(folder, tmp_path).settings
    assert (found.listen, found.location) == ("tcp:3119:interface=127.0.0.1", "tcp:gather.example:3118")
    assert (found.unregistered, found.classifiers) == (True, str(folder))


def test_what_the_configuration_says_counts_before_it_and_a_difference_is_told(folder, tmp_path):
    given = {"listen": "tcp:4000", "location": "tcp:new.example:4000", "classifiers": "/etc/own"}
    (folder / "classify_own.py").write_text("")
    settings, notes = taken(folder, tmp_path, given, **given)
    assert {key: getattr(settings, key) for key in given} == given
    assert any("tcp:gather.example:3118" in note and "tcp:new.example:4000" in note for note in notes)
    assert Furl((tmp_path / "credentials/log_gatherer.furl").read_text()).hints == ("tcp:new.example:4000",)


def test_no_classifiers_no_key(folder, tmp_path):
    assert taken(folder, tmp_path).settings.classifiers == ""


WRONG = {
    "no folder": (shutil.rmtree, "there is no such folder"),
    "never ran": (lambda folder: (folder / "gatherer.pem").unlink(), "gatherer.pem: missing"),
    "no FURL": (lambda folder: (folder / "log_gatherer.furl").unlink(), "log_gatherer.furl: missing"),
    "not a FURL": (lambda folder: (folder / "log_gatherer.furl").write_text("x"), "log_gatherer.furl: no FURL"),
    "not a certificate": (lambda folder: (folder / "gatherer.pem").write_text("x"), "no certificate in PEM form"),
    "of another gatherer": (
        lambda folder: (folder / "log_gatherer.furl").write_text(f"pb://{'a' * 32}@tcp:a:1/{'s' * 32}"),
        "the FURL of another gatherer",
    ),
    "obsolete, no port": (
        lambda folder: (folder / "port").unlink(),
        'ObsoleteGatherer); its FURL leads to tcp:gather.example:3118: set gatherers.incidents.listen, such as "tcp:3118"',
    ),
    "obsolete, no location": (
        lambda folder: (folder / "location").write_text(""),
        'set gatherers.incidents.location, such as "tcp:gather.example:3118"',
    ),
    "a port of a kind that we do not have": (
        lambda folder: (folder / "port").write_text("unix:/run/x"),
        "set gatherers.incidents.listen yourself",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_and_nothing_is_kept(folder, tmp_path, spoil, said):
    spoil(folder)
    with pytest.raises(Refused) as refused:
        taken(folder, tmp_path)
    assert refused.value.code == "bad_config"
    assert said in refused.value.detail
    assert "s" * 32 not in refused.value.detail
    assert list((tmp_path / "credentials").iterdir() if (tmp_path / "credentials").exists() else ()) == []


def test_an_obsolete_one_is_taken_when_the_configuration_says_both(folder, tmp_path):
    (folder / "port").unlink()
    (folder / "location").unlink()
    given = {"listen": "tcp:4000", "location": "tcp:gather.example:3118"}
    assert taken(folder, tmp_path, given, **given).settings.unregistered


def test_another_furl_that_was_given_out_is_not_replaced(folder, tmp_path):
    taken(folder, tmp_path)
    path = tmp_path / "credentials/log_gatherer.furl"
    other = path.read_text().replace("s" * 32, "t" * 32)
    path.write_text(other)
    with pytest.raises(Refused, match="is another FURL than the one handed over"):
        taken(folder, tmp_path)
    assert path.read_text() == other


def test_a_number_that_another_program_has_by_now_is_no_gatherer(folder):
    (folder / "twistd.pid").write_text(f"{os.getpid()}\n")
    look(folder)
    other = ["sh", "-c", "echo up; read line; : twistd"]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        (folder / "twistd.pid").write_text(f"{process.pid}\n")
        with pytest.raises(StillRunning, match=str(process.pid)):
            look(folder)
        process.stdin.close()


# ---- handed over by systemd ----------------------------------------------------------------------------------------


def test_identity_and_furl_that_systemd_hands_over_are_taken(folder, gatherer, tmp_path):
    handed = tmp_path / "handed"
    handed.mkdir()
    shutil.copy(folder / "gatherer.pem", handed / IDENTITY)
    furl = (folder / "log_gatherer.furl").read_text()
    (handed / HANDED_FURL).write_text(furl)
    command = ["env", f"{HANDED}={handed}", sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config)]
    for _ in range(2):
        process = gatherer.run([*command, "gather", "incidents"], "gather")
        process.await_log("tub listening on")
        process.kill(signal.SIGTERM)
        kept = (gatherer.state / "credentials/incidents/log_gatherer.furl").read_text()
        assert Furl(kept).swissnum == Furl(furl).swissnum
    (handed / HANDED_FURL).write_text("not one")
    process = gatherer.run([*command, "gather", "incidents"], "gather")
    assert process.child.wait(60) != 0
    assert "no FURL" in process.log()


def test_a_furl_without_its_certificate_is_refused(folder, gatherer, tmp_path):
    handed = tmp_path / "handed"
    handed.mkdir()
    shutil.copy(folder / "log_gatherer.furl", handed / HANDED_FURL)
    command = ["env", f"{HANDED}={handed}", sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config)]
    process = gatherer.run([*command, "gather", "incidents"], "gather")
    assert process.child.wait(60) == EX_UNAVAILABLE
    assert "hand over its certificate, too" in process.log()
    assert json.dumps("s" * 32) not in process.log()

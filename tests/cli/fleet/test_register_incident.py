"""`lae-monitor fleet register incident`: a FURL for each host, made once, shown again, kept to its owner."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from lae_monitor.cli.group import top
from lae_monitor.config import load
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.secrets import Furl
from lae_monitor.kinds import KINDS
from lae_monitor.net.furls.files import HostFurls
from lae_monitor.net.furls.registry import Registry
from lae_monitor.net.tubs.identity import identity, tub_id

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted.*")  # of pyOpenSSL


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "lae-monitor.toml"
    write(path, "tcp:monitor.example:3118")
    return path


def write(path, location):
    path.write_text(
        f'[state]\npath = "{path.parent}/state"\n[fleet]\nname = "lae"\n[gatherers.incidents]\nlocation = "{location}"\n'
    )


def register(config, *arguments):
    return CliRunner().invoke(top, ["--config", str(config), "fleet", "register", "incident", *arguments])


def settings(config):
    return load(config, KINDS, {})


def test_furl_is_made_once_and_shown_again(config):
    first = register(config, "--host", "node1", "--print-furl")
    assert first.exit_code == 0
    furl = Furl(first.stdout)
    assert furl.hints == ("tcp:monitor.example:3118",)
    assert len(furl.swissnum.reveal()) == 32
    assert register(config, "--host", "node1", "--print-furl").stdout == first.stdout
    assert register(config, "--host", "node2", "--print-furl").stdout != first.stdout
    assert "tahoe.cfg" in first.stderr


def test_without_print_furl_only_the_path_is_shown(config):
    answer = register(config, "--host", "node1", "--cluster", "other")
    path = Path(answer.stdout.strip())
    assert path == config.parent / "state/credentials/incidents/other/node1.furl"
    furl = Furl(path.read_text())
    assert furl.swissnum.reveal() not in answer.output
    as_json = json.loads(register(config, "--host", "node1", "--cluster", "other", "--json").stdout)
    assert as_json == {"cluster": "other", "host": "node1", "path": str(path), "new": False}


def test_credentials_are_for_their_owner_alone(config):
    register(config, "--host", "node1")
    folder = config.parent / "state/credentials/incidents"
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    adopted = folder / "gatherer.pem"
    adopted.chmod(0o644)  # as flogtool leaves it
    register(config, "--host", "node1")
    assert stat.S_IMODE(adopted.stat().st_mode) == 0o600


def test_furl_follows_the_location_and_keeps_its_swissnum(config):
    before = Registry(settings(config), "incidents").register("node1").furl
    write(config, "tcp:new.example:4118,tcp:10.0.0.1:4118")
    after = Registry(settings(config), "incidents").register("node1")
    assert after.furl.hints == ("tcp:new.example:4118", "tcp:10.0.0.1:4118")
    assert after.furl.swissnum == before.swissnum
    assert after.path.read_text() == after.furl.reveal() + "\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--host", "../evil"], 2, "bad_host_name"),
        (["--host", "node1", "--cluster", "a/b"], 2, "bad_cluster_name"),
        ([], 2, "--host"),
    ],
)
def test_bad_names_are_a_usage_error(config, arguments, code, words):
    answer = register(config, *arguments)
    assert answer.exit_code == code
    assert words in answer.output
    assert not list((config.parent).rglob("*.furl"))


def test_bad_location_and_damaged_certificate_are_configuration_errors(config):
    write(config, "monitor")
    answer = register(config, "--host", "node1")
    assert (answer.exit_code, "gatherers.incidents.location" in answer.output) == (78, True)
    write(config, "tcp:monitor:3118")
    pem = config.parent / "state/credentials/incidents/gatherer.pem"
    pem.parent.mkdir(parents=True, exist_ok=True)
    pem.write_text("no certificate")
    answer = register(config, "--host", "node1")
    assert (answer.exit_code, "gatherer.pem" in answer.output) == (78, True)


def test_damaged_furl_file_is_said_and_not_replaced(config):
    path = Registry(settings(config), "incidents").register("node1").path
    path.write_text("pb://nonsense\n")
    answer = register(config, "--host", "node1")
    assert (answer.exit_code, str(path) in answer.output) == (2, True)
    assert path.read_text() == "pb://nonsense\n"


def test_tub_id_is_what_foolscap_computes(tmp_path):
    who = identity(tmp_path / "gatherer.pem")
    command = "import sys; from foolscap.api import Tub; print(Tub(certData=sys.stdin.buffer.read()).tubID)"
    found = subprocess.run([sys.executable, "-c", command], input=who.pem, capture_output=True, check=True)
    assert found.stdout.decode().strip() == who.tub_id == tub_id(who.pem)
    assert "PRIVATE" not in repr(who)


def test_processes_that_race_make_one_certificate_and_one_furl_a_host(config):
    """Twelve at once, on an empty state folder."""
    command = [
        sys.executable,
        "-m",
        "lae_monitor",
        "--config",
        str(config),
        "fleet",
        "register",
        "incident",
        "--print-furl",
    ]

    def run(number):
        return subprocess.run(
            [*command, "--host", f"node{number % 3}"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    with ThreadPoolExecutor(6) as pool:
        furls = [Furl(text) for text in pool.map(run, range(12))]
    assert len({furl.tub_id for furl in furls}) == 1
    assert len({furl.reveal() for furl in furls}) == 3
    assert furls[0].tub_id == identity(config.parent / "state/credentials/incidents/gatherer.pem").tub_id


def test_look_up_follows_the_folder(tmp_path, caplog):
    furls, other = HostFurls(tmp_path / "c"), HostFurls(tmp_path / "c")
    made = {}

    def make(host, cluster="lae"):
        made[host], _ = other.issue(ClusterName(cluster), HostName(host), "a" * 32, "tcp:m:1")
        return made[host].furl.swissnum.reveal()

    assert furls.find("x" * 32) is None
    first = make("node1")
    assert furls.find(first).host == "node1"
    second = make("node2", "other")
    assert furls.find(second)[:2] == ("other", "node2")
    made["node1"].path.unlink()
    assert furls.find(first) is None
    assert furls.find(second).host == "node2"
    again = make("node1")
    assert again != first
    assert furls.find(first) is None
    assert furls.find(again).host == "node1"
    made["node1"].path.rename(made["node1"].path.with_name("renamed.furl"))
    assert furls.find(again).host == "renamed"
    renamed = furls.find(again)
    assert furls.is_valid(renamed)
    renamed.path.write_text(made["node2"].furl.reveal() + "\n")  # a copy: whose would it be?
    assert not furls.is_valid(renamed)
    assert furls.find(again) is None
    fresh = HostFurls(tmp_path / "c")
    assert fresh.find(second) is None
    assert "one FURL for several hosts" in caplog.text
    assert second not in caplog.text


def test_other_files_among_the_furls_are_passed_over(tmp_path):
    furls = HostFurls(tmp_path)
    made, _ = furls.issue(ClusterName("lae"), HostName("node1"), "a" * 32, "tcp:m:1")
    (tmp_path / "lae" / "broken.furl").write_text("no furl")
    (tmp_path / "lae" / "-bad name.furl").write_text(made.furl.reveal())
    (tmp_path / "lae" / "folder.furl").mkdir()
    (tmp_path / "lae" / "binary.furl").write_bytes(b"\xff" * 100)
    (tmp_path / "gatherer.pem").write_text("")
    assert furls.find(made.furl.swissnum.reveal()).host == "node1"


def test_a_furl_that_leads_nowhere_else_is_said(config):
    assert "points to localhost" not in register(config, "--host", "node1").stderr
    write(config, "tcp:localhost:3118")
    said = register(config, "--host", "node1")
    assert (said.exit_code, "points to localhost" in said.stderr) == (0, True)
    assert "pb://" not in said.stderr


@pytest.mark.parametrize(
    "before", [["--json", "fleet", "register"], ["fleet", "--json", "register"], ["fleet", "register", "--json"]]
)
def test_the_common_options_stand_before_or_after_any_name(config, before):
    said = CliRunner().invoke(top, [*before, "incident", "--config", str(config), "--host", "node1"])
    assert json.loads(said.stdout)["host"] == "node1"


def test_a_dry_run_makes_nothing_and_shows_what_is_there(config):
    state = config.parent / "state"
    before = sorted(state.rglob("*"))
    said = register(config, "--host", "node1", "--print-furl", "--dry-run", "--json")
    assert (said.exit_code, json.loads(said.stdout)) == (0, {"host": "node1", "new": True})
    assert sorted(state.rglob("*")) == before
    furl = register(config, "--host", "node1", "--print-furl").stdout
    assert register(config, "--host", "node1", "--print-furl", "--dry-run").stdout == furl
    kept = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    write(config, "tcp:elsewhere.example:3118")
    moved = json.loads(register(config, "--host", "node1", "--print-furl", "--dry-run", "--json").stdout)
    assert (moved["new"], "@tcp:elsewhere.example:3118/" in moved["furl"]) == (False, True)
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == kept
    register(config, "--host", "node1")
    (state / "credentials/incidents/lae/node1.furl").write_text("pb://rubbish\n")
    assert register(config, "--host", "node1", "--dry-run").exit_code == 2

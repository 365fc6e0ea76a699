"""A real Tahoe-LAFS node on a host with a real sshd: registered, heard, tested, and taken out again."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gatherer_process import await_that
from sshd import ME

BIN = Path(sys.executable).parent
PATIENCE = 150  # seconds for a node to start and connect, on a busy machine
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted.*")

RESTART = """#!/bin/sh
echo restarted >> "$HOME/restarts"
cd "$HOME/storageserver" || exit 1
if [ -e "$HOME/pid" ]; then
    read -r pid < "$HOME/pid"
    kill "$pid" 2>/dev/null
    n=0
    while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done
    rm -f running.process
fi
setsid {tahoe} run --allow-stdin-close . </dev/null >>"$HOME/tahoe.log" 2>&1 &
echo $! > "$HOME/pid"
"""


@pytest.fixture
def node(gatherer, fleet, new_host):
    """A host with a node that was never started, known to `fleet`, whose configuration is the gatherer's."""
    host = new_host(nodes=())
    port, web = gatherer.free_port(), gatherer.free_port()
    subprocess.run(
        [
            BIN / "tahoe", "create-node", f"--port=tcp:{port}:interface=127.0.0.1", f"--location=tcp:127.0.0.1:{port}",
            "--nickname=n1", f"--webport=tcp:{web}:interface=127.0.0.1", str(host.home / "storageserver"),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    host.restart_script(RESTART.format(tahoe=BIN / "tahoe"))
    fleet.know(host)
    fleet.config = gatherer.config
    host.place = f"node1=127.0.0.1:{host.port}"
    yield host
    stop(host)


def stop(host):
    """Ends the node, and waits until it has."""
    path = host.home / "pid"
    if path.exists():
        pid = int(path.read_text())
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            return
        await_that(lambda: has_ended(pid), "the node ends")


def has_ended(pid):
    """Whether nobody, or somebody else, or what nobody has buried has that number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def steps(fleet, *words, code=1):
    """What each step of a test saw, by its name, and what is next."""
    answer = json.loads(fleet("test-incident", *words, "--json", code=code).stdout)
    return {step["about"]: step for step in answer["steps"]}, answer["next"]


def test_a_node_is_registered_heard_tested_and_taken_out_again(gatherer, fleet, node):
    gatherer.start()
    done = json.loads(fleet("register", "incident", node.place, "--wait", PATIENCE, "--json").stdout)["hosts"][0]
    assert (done["result"], done["status"], node.restarts) == ("changed", 0, 1)
    assert done["heard"].endswith(" s after the restart")
    again = json.loads(fleet("register", "incident", node.place, "--wait", PATIENCE, "--json").stdout)["hosts"][0]
    assert (again["result"], again["heard"], again["restart"], node.restarts) == ("equal", "connected", None, 1)
    log = gatherer.process.log()
    assert log.count("connected to") == 1

    seen, _ = steps(fleet, node.place, "--details", "flop €", code=None)
    names = gatherer.names("node1")
    assert len(names) == 1
    assert names[0] in seen["arrival"]["saw"]
    assert "flop €" in json.dumps(gatherer.lines("node1", names[0]), ensure_ascii=False)
    assert seen["report"]["saw"].endswith("through SSH")
    lists = gatherer.state / "archive/incidents/lae/classified"
    assert seen["classified"]["ok"] is any(names[0] in path.read_text() for path in lists.glob("*"))
    assert seen["searchable"]["ok"] is None  # serve does not run

    fleet("unregister", "incident", node.place)
    assert node.restarts == 2
    seen, following = steps(fleet, node.place, code=1)
    assert seen["furl"]["saw"].startswith("log_gatherer.furl is not set")
    assert following.startswith("lae-monitor fleet register incident node1=127.0.0.1")


def test_it_says_where_it_stopped(gatherer, fleet, node):
    gatherer.start()
    path = node.home / "storageserver/tahoe.cfg"
    seen, following = steps(fleet, node.place, code=1)
    assert seen["node"]["saw"].startswith("there is no ") and "node.url" in seen["node"]["saw"]
    assert "set-option node web.port" in following
    fleet("register", "incident", node.place, "--wait", PATIENCE)
    own = path.read_text()

    fleet("register", "incident", "--host", "other") if False else None
    other = gatherer.register("other").furl.reveal()
    fleet("register", "incident", node.place, "--furl", other, "--no-restart")
    seen, _ = steps(fleet, node.place, code=1)
    assert "that of lae/other" in seen["furl"]["saw"]
    fleet("register", "incident", node.place, "--furl", f"pb://{'a' * 32}@tcp:x:1/{'s' * 32}", "--no-restart")
    seen, _ = steps(fleet, node.place, code=1)
    assert "which this monitor does not know" in seen["furl"]["saw"] and "s" * 32 not in seen["furl"]["saw"]
    path.write_text(own)

    seen, _ = steps(fleet, node.place, "--url", "http://127.0.0.1:1", code=1)
    assert (
        "nothing listens at 127.0.0.1:1" in seen["report"]["saw"] and "its web port is another" in seen["report"]["saw"]
    )
    url = (node.home / "storageserver/node.url").read_text().strip()
    seen, _ = steps(fleet, node.place, "--url", f"{url}nowhere", code=1)
    assert "POST report_incident answered 404" in seen["report"]["saw"]
    seen, _ = steps(fleet, node.place, "--wait", 1, code=1)
    assert "has not arrived within 1 s" in seen["arrival"]["saw"]

    stop(node)
    seen, _ = steps(fleet, node.place, code=1)
    assert seen["gatherer"]["saw"] == "the node is not connected to the gatherer"
    gatherer.stop()
    seen, following = steps(fleet, node.place, code=1)
    assert (seen["gatherer"]["saw"], following) == ("no incident gatherer runs here", "lae-monitor gather incidents")
    node.stop()
    seen, _ = steps(fleet, node.place, code=1)
    assert list(seen) == ["host"] and "refused" in seen["host"]["saw"]


def test_curl_takes_the_place_of_a_tunnel_that_sshd_forbids(gatherer, fleet, node):
    gatherer.start()
    node.stop()
    node.options = "AllowTcpForwarding no\n"
    node.start()
    node.place = f"node1=127.0.0.1:{node.port}"
    fleet.know(node)
    fleet("register", "incident", node.place, "--wait", PATIENCE)
    seen, _ = steps(fleet, node.place, "--wait", 1, code=1)
    assert "with the host's curl" in seen["report"]["saw"]
    assert seen["arrival"]["ok"] is False
    assert ME


def test_a_node_that_cannot_reach_the_gatherer_is_not_heard(gatherer, fleet, node):
    gatherer.start()
    text = gatherer.config.read_text()
    fleet.config = gatherer.folder / "elsewhere.toml"
    fleet.config.write_text(text.replace(f'location = "tcp:127.0.0.1:{gatherer.port}"', 'location = "tcp:127.0.0.1:1"'))
    done = fleet("register", "incident", node.place, "--wait", 1, "--json", code=1)
    first = json.loads(done.stdout)["hosts"][0]
    assert (first["error"], first["message"]) == ("not_heard", "0 of 1 nodes heard since its restart, after 1 s")
    assert "twistd.log" in first["next"] and "tcp:127.0.0.1:1" in first["next"]


def test_what_arrived_is_searchable_where_serve_runs(fleet, node, tmp_path):
    with monitor(tmp_path / "whole", "incidents", "serve") as whole:
        fleet.config = whole.config
        fleet("register", "incident", node.place, "--wait", PATIENCE)
        seen, following = steps(fleet, node.place, code=None)
        assert seen["searchable"]["ok"] is True
        name = seen["searchable"]["saw"].split()[-1]
        assert name in json.dumps(whole.get("/api/search?q=kind:incident"))
        if seen["classified"]["ok"]:
            assert following == "lae-monitor host show node1"


def monitor(folder, *parts):
    path = Path(__file__).parents[1] / "system" / "monitor.py"
    spec = importlib.util.spec_from_file_location("monitor_of_system", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Monitor(folder, *parts)

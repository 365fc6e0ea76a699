"""`ansible-playbook playbooks/site.yml` on real hosts that EC2's inventory finds: what docs/deploy.md says comes true."""

import base64
import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from lab_hosts import await_that
from lab_places import CHECKOUT
from lab_site import HOSTS, LAE, blocks, one_line

LONG = 120.0  # seconds for a report to be on a timeline; usually it takes ten


def age(time_of_row):
    return datetime.fromisoformat(time_of_row).timestamp()


# ---- deployed ------------------------------------------------------------------------------------------------------


def test_the_inventory_is_what_is_tagged(first_run):
    graph, _ = first_run
    for name in HOSTS:
        assert f"--{name}\n" in graph
    assert "@lae_monitor:" in graph
    assert "@lae_node:" in graph
    assert "untagged" not in graph


@pytest.fixture(scope="module")
def second_run(first_run, site):
    """site.yml again, at its most talkative: what it says is searched for secrets."""
    return site.play("site", "--diff", "-vvv")


def test_run_again_nothing_changes_and_the_rest_of_the_page_is_true(second_run, deployed):
    first, again, _check, verify = blocks("Deploy")
    assert first == again == "ansible-playbook playbooks/site.yml\n"
    assert second_run.fine().changed() == dict.fromkeys(HOSTS, 0)
    deployed.shell(verify)


def test_what_hosts_report_is_on_their_timelines(deployed):
    incident, crash, *looks = "".join(blocks("See it work")).splitlines(keepends=True)
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(deployed.shell, (incident, crash)))

    def arrived():
        found = [row["host"] for row in deployed.ask("search", "flop kind:incident")["rows"]]
        crashed = deployed.ask("search", "kind:crash try")["rows"]
        return {*found} >= {"node1", "node2"} and crashed

    await_that(arrived, lambda: "\n".join(deployed.said[-3:]), LONG)
    with ThreadPoolExecutor() as at_once:
        incidents, crashes, status, token = at_once.map(deployed.shell, looks)
    assert "node1" in incidents and "node2" in incidents
    assert "try 1" in crashes
    assert any(f"  {host} " in crashes for host in ("node1", "node2"))  # whichever the inventory has first
    assert re.search(r"node1\s", status)
    assert "shown only this once" in token
    for row in deployed.ask("search", "flop kind:incident")[
        "rows"
    ]:  # the node itself keeps an incident for five seconds
        assert age(row["received"]) - age(row["time"]) < 60, row


DUMPS = "/home/customer/crashes"  # as the page has it
STORED = """
import glob, hashlib, zipfile
for path in glob.glob("/var/lib/lae-monitor/archive/crashes/*/*.zip"):
    whole = zipfile.ZipFile(path)
    if "upload_file_minidump" in whole.namelist():
        print(hashlib.sha256(whole.read("upload_file_minidump")).hexdigest())
"""


def test_what_crashes_on_a_host_is_on_its_timeline(deployed):
    """A program that dies, which only systemd-coredump notices; and a minidump that a program leaves in a watched folder."""
    monitor, dying, dumping = (deployed.lab.hosts[name] for name in HOSTS)
    die = (CHECKOUT / "tests/lab/die.py").read_text()
    boom = "import ctypes; ctypes.string_at(1)"
    died = dying.exec(["python3", "-", "/usr/bin/python3", "-c", boom, "private"], stdin=die, check=True)
    has_stack = (
        died.stdout != "0\n"
    )  # where the machine's core_pattern names a program, systemd-coredump has no core to read
    data = b"MDMP" + os.urandom(50_000)
    script = f"mkdir -p {DUMPS} && base64 -d > {DUMPS}/.new && mv {DUMPS}/.new {DUMPS}/a.dmp && chown -R customer {DUMPS} && chmod 600 {DUMPS}/a.dmp"
    dumping.exec(["sh", "-c", script], stdin=base64.b64encode(data).decode(), check=True)
    await_that(
        lambda: hashlib.sha256(data).hexdigest() in monitor.exec(["python3", "-c", STORED]).stdout,
        lambda: dumping.journal("lae-crash-reporter"), LONG,
    )  # fmt: skip
    rows = await_that(
        lambda: [row for row in deployed.ask("search", "kind:crash host:node1")["rows"] if "python3" in row["title"]],
        lambda: dying.journal("lae-crash-reporter"), LONG,
    )  # fmt: skip
    version = dying.exec(["dpkg-query", "-W", "-f", "${Version}", "python3.11-minimal"]).stdout
    assert rows[0]["title"].startswith(f"python3.11 {version} crashed: SIGSEGV{' in ' if has_stack else ''}")
    assert age(rows[0]["received"]) - age(rows[0]["time"]) < 90
    shown = monitor.exec([LAE, "report", "show", rows[0]["id"]]).stdout
    assert ("Stack trace of thread" in shown) == has_stack
    assert "private" not in shown
    await_that(
        lambda: any("a.dmp" in json.dumps(row) for row in deployed.ask("search", "kind:crash host:node2")["rows"]),
        "the minidump is on the timeline", LONG,
    )  # fmt: skip


def test_the_monitor_is_reached_by_its_name_and_not_by_its_address(deployed):
    node = deployed.lab.hosts["node1"]
    furl = node.read("/home/customer/storageserver/tahoe.cfg").decode()
    assert re.search(r"^log_gatherer.furl = pb://[a-z2-7]{32}@tcp:monitoring.lab:3118/", furl, re.MULTILINE)
    direct = node.exec(["timeout", "3", "bash", "-c", f"echo > /dev/tcp/{deployed.monitor.address}/3118"])
    assert direct.returncode != 0


def test_services_are_closed_and_kinds_are_kept_apart(deployed):
    monitor = deployed.monitor
    for part, pid in deployed.pids().items():
        told = monitor.exec(["systemd-analyze", "security", "--no-pager", f"lae-monitor-{part}.service"]).stdout
        assert float(re.search(r"exposure level for .*: ([0-9.]+)", told)[1]) <= 2.0
        inside = ["nsenter", "-t", pid.strip(), "-m", "-S", "999", "--", "cat"]
        seen = monitor.exec([*inside, "/var/lib/lae-monitor/credentials/incidents/gatherer.pem"])
        assert (seen.returncode == 0) == (part == "incidents"), f"{part}: {seen.stderr}"
        assert monitor.exec(["systemctl", "show", "--value", "-p", "NRestarts", f"lae-monitor-{part}"]).stdout == "0\n"
    modes = monitor.exec(["sh", "-c", "find /var/lib/lae-monitor -perm /077 ! -type l"]).stdout
    assert modes == ""


def test_other_accounts_and_other_hosts_need_a_token(deployed):
    """The unit's sandbox leaves it what the kernel says of connections; the command line and probes need no token."""
    monitor, node = deployed.monitor, deployed.lab.hosts["node1"]
    curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    pages = "http://127.0.0.1:8642/api/hosts"

    def status(account, *words):
        return monitor.exec(["runuser", "-u", account, "--", *curl, *words]).stdout

    assert (status("root", pages), status("gatherer", pages)) == ("200", "200")
    assert (status("daemon", pages), status("nobody", pages)) == ("401", "401")
    assert status("daemon", "-X", "POST", "http://127.0.0.1:8642/api/reports/x/retry") == "401"
    assert status("root", "-H", "X-Forwarded-For: 10.0.0.7", pages) == "401"
    token = json.loads(monitor.exec([LAE, "token", "new", "web", "--json"], check=True).stdout)
    shown = ["-H", f"Authorization: Bearer {token['password']}"]
    assert status("daemon", *shown, pages) == "200"
    assert status("daemon", *shown, "-X", "POST", "http://127.0.0.1:8642/api/reports/x/retry") == "403"

    assert monitor.exec([LAE, "search", "since:1h"]).returncode in {0, 1}
    refused = monitor.exec(["runuser", "-u", "daemon", "--", LAE, "search", "since:1h"])
    assert refused.returncode == 69
    assert "only root and the account of the monitor may ask without a token" in refused.stderr
    keep = f"umask 077; printf %s {token['password']} > /tmp/token; chown daemon /tmp/token"
    monitor.exec(["sh", "-c", keep], check=True)
    let_in = ["env", "LAE_MONITOR_TOKEN_FILE=/tmp/token", LAE, "search", "since:1h", "--json"]
    assert "matched" in monitor.exec(["runuser", "-u", "daemon", "--", *let_in]).stdout
    monitor.exec(["rm", "/tmp/token"])

    collector = "http://monitoring.lab:8000"
    assert node.exec([*curl, f"{collector}/metrics"]).stdout == "401"
    assert node.exec([*curl, *shown, f"{collector}/metrics"]).stdout == "200"
    assert "/var/lib" not in node.exec(["curl", "--silent", f"{collector}/__heartbeat__"], check=True).stdout
    assert "/var/lib" in monitor.exec(["curl", "--silent", "http://127.0.0.1:8642/__heartbeat__"], check=True).stdout
    monitor.exec([LAE, "token", "revoke", "web", token["id"]], check=True)
    assert status("daemon", *shown, pages) == "401"


# ---- what is in the way --------------------------------------------------------------------------------------------


IN_THE_WAY = {
    "address": ({"incident_gatherer_location_host": "10.77.0.200"}, "give the DNS name by which nodes reach this host"),
    "furl": ({"incident_gatherer_location_host": "tcp:monitoring.lab:3118"}, "without a port and without tcp:"),
    "word": ({"crash_collector_port": "eighty"}, "eighty"),
    "busy": ({"crash_collector_port": "8999"}, "crash_collector_port: port 8999 of this host is in use by busy.service: stop that"),
    "own": ({"crash_collector_settings": {"listen": "x"}}, "listen is set through a variable of its own"),
    "relative": ({"crash_collector_destinations": [{"type": "tar", "folder": "/home/tar"}]}, "crash_collector_destinations: /home/tar: give absolute paths"),
    "port": ({"monitor_port": "70000"}, "monitor_port: 70000 is no port: give one from 1 to 65535"),
    "readonly": ({"lae_common_archive_roots": ["/srv/readonly/archive"]}, "lae_common_archive_roots: /srv/readonly cannot be written"),
    "file": ({"lae_common_state": "/etc/hostname/state"}, "lae_common_state: /etc/hostname is no folder"),
    "full": ({"lae_common_free": 999999999}, "MiB are needed: make room"),
    "python": ({"lae_common_python": "/usr/bin/python9"}, "/usr/bin/python9: No such file or directory; install Python 3.11"),
    "fleet": ({"lae_common_fleet": "my fleet"}, "my fleet is no name: use letters"),
    "release": ({"lae_common_release_folder": "/nowhere"}, "There is no release in /nowhere: run make wheelhouse"),
}  # fmt: skip


@pytest.fixture(scope="module")
def hindered(first_run, site):
    """monitor.yml on one monitor host by thirteen names, each of which is hindered by something else; in one run.

    A port of the host is taken, and a disk cannot be written. Nothing may be changed, so none disturbs another.
    """
    monitor = site.monitor
    monitor.exec(["systemd-run", "--unit=busy", "python3", "-m", "http.server", "8999", "--bind", "127.0.0.1"])
    monitor.exec(["sh", "-c", "mkdir -p /srv/readonly; mount -t tmpfs -o ro tmpfs /srv/readonly"])
    await_that(lambda: "8999" in monitor.exec(["ss", "-ltn"]).stdout, "the port is in use")
    names = {name: {"ansible_host": monitor.address, **variables} for name, (variables, _) in IN_THE_WAY.items()}
    inventory = site.folder / "inventory" / "hindered.json"  # JSON is YAML
    inventory.write_text(json.dumps({"all": {"children": {"lae_monitor": {"hosts": names}}}}))
    before = site.pids()
    run = site.play("monitor", "-i", "inventory/hindered.json", "--forks", "5")
    inventory.unlink()
    monitor.exec(["systemctl", "stop", "busy"])
    monitor.exec(["umount", "/srv/readonly"])
    return run, before == site.pids()


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_preflight_stops_with_what_to_do_before_anything_is_changed(hindered, name):
    run, undisturbed = hindered
    failures = re.findall(rf"^(?:fatal|failed): \[{name}\].*?(?=^\S|\Z)", run.said, re.MULTILINE | re.DOTALL)
    assert IN_THE_WAY[name][1] in one_line("".join(failures)), run.said[-6000:]
    assert (run.recap[name]["failed"], run.recap[name]["changed"]) == (1, 0)
    assert undisturbed, "every service runs on"


# ---- last, when most was said --------------------------------------------------------------------------------------


def test_nothing_that_a_run_leaves_or_says_holds_a_secret(second_run, deployed):
    secrets = deployed.furls()
    assert len(secrets) == 2
    said = "\n".join(deployed.said)
    assert len(said) > 20_000
    for secret in secrets:
        assert secret not in said
    for host in deployed.lab.hosts.values():
        found = host.exec(
            ["sh", "-c", f"journalctl --no-pager | grep -F -e {secrets[0]} -e {secrets[1]} | head -3; "
             f"grep -rlF -e {secrets[0]} -e {secrets[1]} /root /tmp /var/tmp /etc /var/log 2>/dev/null"], check=False,
        ).stdout  # fmt: skip
        assert found == "", host.name
    for path in deployed.folder.rglob("*"):
        if path.is_file() and "dist" not in path.parts:
            data = path.read_bytes()
            assert not any(secret.encode() in data for secret in secrets), path

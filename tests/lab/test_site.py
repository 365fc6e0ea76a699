"""`ansible-playbook playbooks/site.yml` on real hosts that EC2's inventory finds: what docs/deploy.md says comes true.

The tests of this file follow one fleet through its life, in this order; each leaves it deployed.
"""

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from datetime import datetime

import pytest
from lab_places import CHECKOUT
from lab_site import Site

PAGE = (CHECKOUT / "docs" / "deploy.md").read_text()
HOSTS = ("monitor1", "node1", "node2")
UNITS = ("serve", "incidents", "crashes")
LAE = "/usr/local/bin/lae-monitor"


def blocks(heading):
    """The shell blocks below a heading of the page, each as a reader would type it."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


def await_that(condition, what, deadline=120.0):
    end = time.monotonic() + deadline
    while not (found := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def release():
    """dist/ as `make wheelhouse` leaves it."""
    subprocess.run([sys.executable, CHECKOUT / "requirements" / "wheelhouse.py"], check=True, capture_output=True)
    return CHECKOUT / "dist"


@pytest.fixture(scope="module")
def site(lab, release, tmp_path_factory):
    made = Site(lab, tmp_path_factory.mktemp("controller") / "lae_monitor", release)
    ec2 = made.start_ec2()
    try:
        yield made
    finally:
        ec2.terminate()
        ec2.wait(30)


@pytest.fixture(scope="module")
def deployed(site):
    """The fleet, deployed as the page says, one node being cut off meanwhile; what the runs came to."""
    (listed,) = blocks("Tell Ansible of your fleet")[:1]
    graph = site.shell(listed)
    for block in blocks("Tell Ansible of your fleet")[1:]:
        site.shell(block)
    first = run_and_cut(site, "node2")
    site.lab.hosts["node2"].heal()
    second = site.play()
    return {"graph": graph, "first": first, "second": second}


def run_and_cut(site, host):
    """site.yml on a fresh fleet; `host` is cut off while the release is on its way to the monitor."""
    process, said = site.begin(), ""
    for line in process.stdout:
        said += line
        if "lae_common : Bring the release" in line:
            site.lab.hosts[host].cut()
            break
    return site.end(process, said)


def ask(site, *words, host="monitor1"):
    """The answer of `lae-monitor --json` on a host."""
    done = site.lab.hosts[host].exec([LAE, *words, "--json"])
    return json.loads(done.stdout)


def age(time_of_row):
    return datetime.fromisoformat(time_of_row).timestamp()


def connections(site):
    return {host["host"]: host["connections"] for host in ask(site, "fleet", "status")["hosts"]}


def furls(site):
    """Every secret of a FURL on the monitor host."""
    told = (
        site.lab.hosts["monitor1"].exec(["sh", "-c", "cat /var/lib/lae-monitor/credentials/incidents/*/*.furl"]).stdout
    )
    return [line.rpartition("/")[2] for line in told.split()]


# ---- deployed ------------------------------------------------------------------------------------------------------


def test_the_inventory_is_what_is_tagged(deployed):
    for name in HOSTS:
        assert f"--{name}\n" in deployed["graph"]
    assert "@lae_monitor:" in deployed["graph"]
    assert "@lae_node:" in deployed["graph"]
    assert "untagged" not in deployed["graph"]


def test_a_node_that_is_cut_off_keeps_nobody_else_from_being_done(deployed):
    first = deployed["first"]
    assert first.code != 0
    assert "Not done: node2." in re.sub(r"\s+", " ", first.said)
    assert first.recap["node2"]["unreachable"] == 1
    assert (first.recap["monitor1"]["failed"], first.recap["node1"]["failed"]) == (0, 0)
    assert first.changed()["node1"] > 0


def test_healed_only_the_node_that_was_cut_off_is_changed(deployed):
    second = deployed["second"]
    assert second.code == 0, second.said[-6000:]
    changed = second.changed()
    assert (changed["monitor1"], changed["node1"]) == (0, 0)
    assert changed["node2"] > 0


def test_run_again_nothing_changes_and_the_rest_of_the_page_is_true(deployed, site):
    first, again, check, verify = blocks("Deploy")
    assert first == again == "ansible-playbook playbooks/site.yml\n"
    run = site.play()
    assert run.code == 0, run.said[-6000:]
    assert run.changed() == dict.fromkeys(HOSTS, 0)
    assert check == "ansible-playbook playbooks/site.yml --check --diff\n"
    dry = site.play("site", "--check", "--diff", "-vvv")
    assert dry.code == 0, dry.said[-6000:]
    assert dry.changed() == dict.fromkeys(HOSTS, 0)
    site.shell(verify)


def test_what_hosts_report_is_on_their_timelines(deployed, site):
    incident, crash, *looks = blocks("See it work")[0].splitlines(keepends=True) + blocks("See it work")[1].splitlines(
        keepends=True
    )
    site.shell(incident)
    site.shell(crash)

    def arrived():
        found = [site.shell(look, check=False).stdout for look in looks]
        crashed = any(f"  {host} " in found[1] for host in ("node1", "node2"))  # whichever the inventory has first
        return found if "node1" in found[0] and "node2" in found[0] and crashed else None

    _, crashes, status = await_that(arrived, lambda: "\n".join(site.said[-3:]))
    assert "try 1" in crashes
    assert re.search(r"node1\s", status)
    rows = ask(site, "search", "flop kind:incident")["rows"]
    assert {row["host"] for row in rows} >= {"node1", "node2"}
    for row in rows:  # the node itself keeps an incident for five seconds
        assert age(row["received"]) - age(row["time"]) < 60, row


DUMPS = "/home/customer/crashes"  # as the page has it
STORED = """
import glob, hashlib, zipfile
for path in glob.glob("/var/lib/lae-monitor/archive/crashes/*/*.zip"):
    whole = zipfile.ZipFile(path)
    if "upload_file_minidump" in whole.namelist():
        print(hashlib.sha256(whole.read("upload_file_minidump")).hexdigest())
"""


def test_what_crashes_on_a_host_is_on_its_timeline(deployed, site):
    """A program that dies, which only systemd-coredump notices; and a minidump that a program leaves in a watched folder."""
    monitor, dying, dumping = (site.lab.hosts[name] for name in HOSTS)
    die = (CHECKOUT / "tests/lab/die.py").read_text()
    boom = "import ctypes; ctypes.string_at(1)"
    dying.exec(["python3", "-", "/usr/bin/python3", "-c", boom, "private"], stdin=die, check=True)
    data = b"MDMP" + os.urandom(50_000)
    script = f"mkdir -p {DUMPS} && base64 -d > {DUMPS}/.new && mv {DUMPS}/.new {DUMPS}/a.dmp && chown -R customer {DUMPS} && chmod 600 {DUMPS}/a.dmp"
    dumping.exec(["sh", "-c", script], stdin=base64.b64encode(data).decode(), check=True)
    await_that(
        lambda: hashlib.sha256(data).hexdigest() in monitor.exec(["python3", "-c", STORED]).stdout,
        lambda: dumping.journal("lae-crash-reporter"),
    )
    (row,) = await_that(
        lambda: [row for row in ask(site, "search", "kind:crash host:node1")["rows"] if "python3" in row["title"]],
        lambda: dying.journal("lae-crash-reporter"),
    )
    version = dying.exec(["dpkg-query", "-W", "-f", "${Version}", "python3.11-minimal"]).stdout
    assert row["title"].startswith(f"python3.11 {version} crashed: SIGSEGV in ")
    assert age(row["received"]) - age(row["time"]) < 90
    shown = monitor.exec([LAE, "report", "show", row["id"]]).stdout
    assert "Stack trace of thread" in shown
    assert "private" not in shown
    rows = await_that(lambda: ask(site, "search", "kind:crash host:node2")["rows"], "the minidump is on the timeline")
    assert any("a.dmp" in json.dumps(row) for row in rows)


def test_a_host_that_does_not_reach_the_collector_is_told_so_before_anything_is_changed(deployed, site):
    run = site.play("nodes", "-e", "crash_reporting_url=http://monitoring.lab:9/submit")
    assert run.code != 0
    assert "crash_reporting_url: http://monitoring.lab:9 is not reached from here" in re.sub(r"\s+", " ", run.said)
    assert run.changed() == {"node1": 0, "node2": 0}


def test_the_monitor_is_reached_by_its_name_and_not_by_its_address(deployed, site):
    furl = site.lab.hosts["node1"].read("/home/customer/storageserver/tahoe.cfg").decode()
    assert re.search(r"^log_gatherer.furl = pb://[a-z2-7]{32}@tcp:monitoring.lab:3118/", furl, re.MULTILINE)
    direct = site.lab.hosts["node1"].exec(
        ["timeout", "3", "bash", "-c", f"echo > /dev/tcp/{site.lab.hosts['monitor1'].address}/3118"], check=False
    )
    assert direct.returncode != 0


def test_services_are_closed_and_kinds_are_kept_apart(deployed, site):
    monitor = site.lab.hosts["monitor1"]
    for part in UNITS:
        told = monitor.exec(["systemd-analyze", "security", "--no-pager", f"lae-monitor-{part}.service"]).stdout
        assert float(re.search(r"exposure level for .*: ([0-9.]+)", told)[1]) <= 2.0
        pid = monitor.exec(["systemctl", "show", "--value", "-p", "MainPID", f"lae-monitor-{part}"]).stdout.strip()
        inside = ["nsenter", "-t", pid, "-m", "-S", "999", "--", "cat"]
        seen = monitor.exec([*inside, "/var/lib/lae-monitor/credentials/incidents/gatherer.pem"], check=False)
        assert (seen.returncode == 0) == (part == "incidents"), f"{part}: {seen.stderr}"
        assert monitor.exec(["systemctl", "show", "--value", "-p", "NRestarts", f"lae-monitor-{part}"]).stdout == "0\n"
    modes = monitor.exec(["sh", "-c", "find /var/lib/lae-monitor -perm /077 ! -type l"]).stdout
    assert modes == ""


def test_the_monitor_host_restarted_everything_comes_back_by_itself(deployed, site):
    before = len(ask(site, "search", "kind:incident")["rows"])
    monitor = site.lab.hosts["monitor1"]
    monitor.restart()
    for part in UNITS:
        await_that(
            lambda part=part: (
                monitor.exec(["systemctl", "is-active", f"lae-monitor-{part}"], check=False).returncode == 0
            ),
            lambda part=part: monitor.journal(f"lae-monitor-{part}"),
        )
    await_that(lambda: monitor.exec([LAE, "check", "fleet", *UNITS], check=False).returncode == 0, "everything answers")
    assert len(ask(site, "search", "kind:incident")["rows"]) == before
    await_that(lambda: connections(site) == {"node1": 2, "node2": 2}, lambda: f"{connections(site)}", deadline=180)
    site.shell(blocks("See it work")[0].splitlines()[1])


def test_files_of_another_account_are_edited_by_sudo(deployed, site):
    node = site.lab.hosts["node1"]
    node.exec(["sh", "-euc", """
        useradd --create-home --shell /bin/bash ops
        install -d -o ops -m 0700 ~ops/.ssh
        install -o ops -m 0600 /root/.ssh/authorized_keys ~ops/.ssh/authorized_keys
    """], check=True)  # fmt: skip
    path = "/home/customer/storageserver/tahoe.cfg"
    before = node.read(path)
    owner = node.exec(["stat", "-c", "%U %G %a", path]).stdout

    def set_option(*options):
        ssh = f"--identity {site.lab.folder}/id_ed25519 --known-hosts {site.lab.folder}/known_hosts --user ops"
        where = "--on node1 --nodes /home/customer/storageserver --no-restart"
        done = site.shell(
            f"lae-monitor fleet set-option client by.sudo yes {where} {ssh} {' '.join(options)}", check=False
        )
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)

    code, said = set_option()
    assert (code, node.read(path)) == (1, before), said
    assert "not permitted" in said
    assert "--sudo" in said, "the way to do it is named"
    code, said = set_option("--sudo")
    assert (code, node.read(path)) == (1, before), said
    assert "let that account run python3 by sudo without a password" in said
    node.exec(["sh", "-c", "echo 'ops ALL=(root) NOPASSWD: /usr/bin/python3' > /etc/sudoers.d/ops"])
    code, said = set_option("--sudo", "--dry-run")
    assert (code, node.read(path)) == (0, before), said
    assert "+by.sudo = yes" in said
    code, said = set_option("--sudo")
    assert code == 0, said
    after = node.read(path)
    assert after.replace(b"by.sudo = yes\n", b"", 1).split() == before.split()
    assert node.exec(["stat", "-c", "%U %G %a", path]).stdout == owner
    assert set_option("--sudo")[0] == 0
    assert node.read(path) == after
    logged = node.exec(["journalctl", "--no-pager", "_COMM=sudo"]).stdout
    assert "python3 -I -c" in logged
    assert "by.sudo" not in logged
    node.write(path, before, 0o600)
    node.exec(["sh", "-euc", f"chown {owner.split()[0]}:{owner.split()[1]} {path}; chmod {owner.split()[2]} {path}; "
               "rm /etc/sudoers.d/ops; userdel --remove ops 2>/dev/null"])  # fmt: skip


# ---- what is in the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"incident_gatherer_location_host": "10.77.0.200"}, "give the DNS name by which nodes reach this host"),
        ({"incident_gatherer_location_host": "tcp:monitoring.lab:3118"}, "without a port and without tcp:"),
        ({"crash_collector_port": "eighty"}, "eighty"),
        ({"crash_collector_port": "8999"}, "crash_collector_port: port 8999 of this host is in use by busy.service: stop that"),
        ({"crash_collector_settings": {"listen": "x"}}, "listen is set through a variable of its own"),
        ({"crash_collector_destinations": [{"type": "tar", "folder": "/home/tar"}]}, "crash_collector_destinations: /home/tar: give absolute paths"),
        ({"monitor_port": "70000"}, "monitor_port: 70000 is no port: give one from 1 to 65535"),
        ({"lae_common_archive_roots": ["/srv/readonly/archive"]}, "lae_common_archive_roots: /srv/readonly cannot be written"),
        ({"lae_common_state": "/etc/hostname/state"}, "lae_common_state: /etc/hostname is no folder"),
        ({"lae_common_free": 999999999}, "MiB are needed: make room"),
        ({"lae_common_python": "/usr/bin/python9"}, "/usr/bin/python9: No such file or directory; install Python 3.11"),
        ({"lae_common_fleet": "my fleet"}, "my fleet is no name: use letters"),
        ({"lae_common_release_folder": "/nowhere"}, "There is no release in /nowhere: run make wheelhouse"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_preflight_stops_with_what_to_do_before_anything_is_changed(deployed, site, hindered, variables, sentence):
    run = site.play("monitor", "-e", json.dumps(variables))
    assert run.code != 0
    assert sentence in re.sub(r"\s+", " ", run.said)
    assert run.changed() == {"monitor1": 0}
    assert hindered.exec(["systemctl", "is-active", *(f"lae-monitor-{part}" for part in UNITS)]).stdout.split() == [
        "active"
    ] * len(UNITS)


@pytest.fixture(scope="module")
def hindered(deployed, site):
    """A monitor host with a port that somebody else has, and a disk that cannot be written."""
    monitor = site.lab.hosts["monitor1"]
    monitor.exec(["systemd-run", "--unit=busy", "python3", "-m", "http.server", "8999", "--bind", "127.0.0.1"])
    monitor.exec(["sh", "-c", "mkdir -p /srv/readonly; mount -t tmpfs -o ro tmpfs /srv/readonly"])
    await_that(lambda: "8999" in monitor.exec(["ss", "-ltn"]).stdout, "the port is in use")
    yield monitor
    monitor.exec(["systemctl", "stop", "busy"])
    monitor.exec(["umount", "/srv/readonly"])


# ---- changed, gone -------------------------------------------------------------------------------------------------


def test_a_changed_variable_restarts_only_what_it_concerns(deployed, site):
    monitor = site.lab.hosts["monitor1"]

    def pids():
        return {
            part: monitor.exec(["systemctl", "show", "--value", "-p", "MainPID", f"lae-monitor-{part}"]).stdout
            for part in UNITS
        }

    before = pids()
    changed = {
        "crash_collector_settings": {"max_body": "26 MiB"},
        "crash_collector_rules_toml": '[[rule]]\nname = "all"\nkey = "ProductName"\nnot_in = [""]\nresult = "accept"\n',
        "crash_collector_destinations": [{"type": "antenna", "fs_root": "/srv/crashes"}],
    }
    run = site.play("monitor", "-e", json.dumps(changed))
    assert run.code == 0, run.said[-6000:]
    after = pids()
    await_that(
        lambda: monitor.exec(["sh", "-c", "find /srv/crashes -type f"]).stdout,
        lambda: monitor.journal("lae-monitor-crashmover"),
    )
    closed = monitor.exec(["systemd-analyze", "security", "--no-pager", "lae-monitor-crashmover.service"]).stdout
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", closed)[1]) <= 2.0
    assert {part for part in UNITS if before[part] != after[part]} == {"crashes"}
    run = site.play("monitor", "-e", json.dumps({"crash_collector_settings": {"max_bodi": "26 MiB"}}))
    assert run.code != 0
    assert "max_body" in run.said, "the nearest known key is named"
    assert {part for part in UNITS if pids()[part] != after[part]} <= {"crashes"}
    run = site.play("monitor")
    assert run.code == 0, run.said[-6000:]
    for path in ("/etc/systemd/system/lae-monitor-crashmover.service", "/etc/lae-monitor/throttle.toml"):
        assert monitor.exec(["test", "-e", path]).returncode == 1, "gone with what it was for"
    assert monitor.exec(["systemctl", "is-active", "lae-monitor-crashmover"]).returncode != 0


RECEIVER = """
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(self.path, self.headers["Authorization"], body, file=open("/srv/hooks", "a"))
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9999), Hook).serve_forever()
"""


def test_alarms_reach_people_and_their_secrets_nobody_else(deployed, site):
    monitor = site.lab.hosts["monitor1"]
    monitor.exec(["systemd-run", "--unit=hooks", "python3", "-c", RECEIVER])
    await_that(lambda: "9999" in monitor.exec(["ss", "-ltn"]).stdout, "the receiver listens")
    told = {
        "monitor_alerts": {
            "expected": ["ghost"], "silent_after": "10s",
            "destinations": [{"type": "webhook", "name": "chat", "rules": ["host silent"]}],
        },
        "monitor_alerts_secrets": {"chat": "not-for-others", "chat.url": "http://127.0.0.1:9999/not-for-others-either"},
    }  # fmt: skip
    run = site.play("monitor", "-e", json.dumps(told))
    assert run.code == 0, run.said[-6000:]
    assert "not-for-others" not in run.said
    received = await_that(
        lambda: "ghost" in (found := monitor.exec(["cat", "/srv/hooks"], check=False).stdout) and found,
        lambda: f"{monitor.exec([LAE, 'alert', 'list']).stdout}\n{monitor.journal('lae-monitor-serve')}",
        deadline=180,
    )
    expected = {one["host"]: one["why"] for one in ask(site, "alert", "test")["hosts"]}
    assert expected == {"ghost": "alerts.expected", "node1": "has a FURL", "node2": "has a FURL"}, (
        "though serve sees no FURL"
    )
    assert received.startswith("/not-for-others-either Bearer not-for-others {")
    folder = "/var/lib/lae-monitor/credentials/alerts"
    assert monitor.exec(["sh", "-c", f"stat -c '%n %a %U' {folder}/*"]).stdout.split("\n")[:2] == [
        f"{folder}/chat 600 gatherer", f"{folder}/chat.url 600 gatherer"
    ]  # fmt: skip
    assert site.play("monitor", "-e", json.dumps(told)).changed() == {"monitor1": 0}
    left_over = {**told, "monitor_alerts_secrets": {"pager": "x"}}
    run = site.play("monitor", "-e", json.dumps(left_over))
    assert "pager: no destination in monitor_alerts has that name" in re.sub(r"\s+", " ", run.said)
    assert run.changed() == {"monitor1": 0}
    run = site.play("monitor")
    assert run.code == 0, run.said[-6000:]
    assert monitor.exec(["ls", "-A", folder]).stdout == ""
    monitor.exec(["systemctl", "stop", "hooks"])


@pytest.fixture(scope="module")
def broken_release(release, tmp_path_factory):
    """A release whose `serve` cannot start, as nobody would make it on purpose."""
    spec = importlib.util.spec_from_file_location("wheelhouse", CHECKOUT / "requirements" / "wheelhouse.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    folder = tmp_path_factory.mktemp("broken")
    wheels = folder / "wheelhouse"
    shutil.copytree(release / "wheelhouse", wheels, copy_function=os.link)
    (own,) = wheels.glob("lae_monitor-*.whl")
    with zipfile.ZipFile(own) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    files["lae_monitor/service/serve.py"] += b"\nraise RuntimeError('broken on purpose')\n"
    own.unlink()
    with zipfile.ZipFile(own, "w") as broken:
        for name, data in files.items():
            broken.writestr(name, data)
    requirements = wheels / "requirements.txt"
    text = re.sub(r"(lae-monitor==\S+ --hash=sha256:)\S+", rf"\g<1>{maker._digest(own)}", requirements.read_text())
    requirements.unlink()  # a link to the other's
    requirements.write_text(text)
    (folder / "release.json").write_text(json.dumps(maker.pack(wheels, folder)))
    return folder


def test_a_release_that_does_not_start_is_taken_back_by_itself(deployed, site, broken_release):
    monitor = site.lab.hosts["monitor1"]
    before = monitor.exec(["readlink", "/opt/lae-monitor/current"]).stdout
    run = site.play("monitor", "-e", f"lae_common_release_folder={broken_release}")
    assert run.code != 0
    assert "is current again, and runs." in re.sub(r"\s+", " ", run.said), run.said[-5000:]
    assert "broken on purpose" in run.said, "the journal is shown"
    assert monitor.exec(["readlink", "/opt/lae-monitor/current"]).stdout == before
    assert monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0
    assert site.play("monitor", "-e", f"lae_common_release_folder={broken_release}").code != 0, (
        "no better the second time"
    )
    assert monitor.exec(["readlink", "/opt/lae-monitor/current"]).stdout == before
    again = site.play("monitor")
    assert again.code == 0, again.said[-6000:]
    assert monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0
    assert site.play("monitor").changed() == {"monitor1": 0}


def test_a_service_that_runs_on_what_was_before_is_restarted(deployed, site):
    monitor = site.lab.hosts["monitor1"]
    began = monitor.exec(["systemctl", "show", "--value", "-p", "MainPID", "lae-monitor-crashes"]).stdout
    unit = "/etc/systemd/system/lae-monitor-crashes.service"
    monitor.exec(["touch", "-d", "+2 seconds", unit])  # as a run leaves it that ended before the restart
    run = site.play("monitor")
    assert (run.code, run.changed()) == (0, {"monitor1": 2}), run.said[-6000:]
    assert monitor.exec(["systemctl", "show", "--value", "-p", "MainPID", "lae-monitor-crashes"]).stdout != began


def test_nothing_that_a_run_leaves_or_says_holds_a_secret(deployed, site):
    secrets = furls(site)
    assert len(secrets) == 2
    said = "\n".join(site.said)
    assert len(said) > 20_000
    for secret in secrets:
        assert secret not in said
    for host in site.lab.hosts.values():
        found = host.exec(
            ["sh", "-c", f"journalctl --no-pager | grep -F -e {secrets[0]} -e {secrets[1]} | head -3; "
             f"grep -rlF -e {secrets[0]} -e {secrets[1]} /root /tmp /var/tmp /etc /var/log 2>/dev/null"], check=False,
        ).stdout  # fmt: skip
        assert found == "", host.name
    for path in site.folder.rglob("*"):
        if path.is_file() and "dist" not in path.parts:
            data = path.read_bytes()
            assert not any(secret.encode() in data for secret in secrets), path


def test_uninstalled_nothing_is_left_but_what_was_gathered(deployed, site):
    monitor = site.lab.hosts["monitor1"]
    run = site.play("uninstall")
    assert run.code == 0, run.said[-6000:]
    for path in (
        "/opt/lae-monitor",
        "/etc/lae-monitor",
        LAE,
        "/etc/tmpfiles.d/lae-monitor.conf",
        "/var/lib/lae-monitor/credentials/alerts",
    ):
        assert monitor.exec(["test", "-e", path], check=False).returncode == 1, path
    assert monitor.exec(["sh", "-c", "ls /etc/systemd/system/lae-monitor-*"], check=False).stdout == ""
    assert monitor.exec(["sh", "-c", "ls /var/lib/lae-monitor/archive/incidents/lae/incidents"]).stdout.split() == [
        "node1",
        "node2",
    ]
    for name in ("node1", "node2"):
        left = site.lab.hosts[name].exec(
            ["sh", "-c", "ls -d /etc/*/*/lae-crash* /etc/lae-crash* /usr/local/lib/lae-crash*"]
        )
        assert left.stdout == ""
        for node in ("storageserver", "introducer"):
            text = site.lab.hosts[name].read(f"/home/customer/{node}/tahoe.cfg").decode()
            assert "pb://" not in text
            await_that(
                lambda name=name, node=node: site.lab.hosts[name].exec(
                    ["systemctl", "is-active", f"tahoe-{node}"], check=False
                ).returncode == 0,
                f"{node} of {name} runs on",
            )  # fmt: skip
    assert site.play("uninstall").changed() == dict.fromkeys(HOSTS, 0)
    back = site.play()
    assert back.code == 0, back.said[-6000:]
    assert len(ask(site, "search", "kind:incident")["rows"]) >= 2, "what was gathered before is there again"
    purge(site)


def purge(site):
    gone = site.play("uninstall", "-e", "lae_common_purge=true")
    assert gone.code == 0, gone.said[-6000:]
    monitor = site.lab.hosts["monitor1"]
    for path in ("/var/lib/lae-monitor", "/home/gatherer"):
        assert monitor.exec(["test", "-e", path]).returncode == 1, path
    assert monitor.exec(["id", "gatherer"]).returncode == 1
    assert site.lab.hosts["node1"].exec(["ls", "/var/lib/private"]).stdout == ""


def test_a_new_monitor_host_that_is_handed_the_identity_is_the_same_to_every_node(deployed, site):
    monitor, kept = site.lab.hosts["monitor1"], "/var/lib/lae-monitor/credentials/incidents/gatherer.pem"
    assert site.play("monitor").code == 0
    pem = monitor.read(kept).decode()
    register = [LAE, "fleet", "register", "incident", "--host", "node1", "--print-furl"]
    before = monitor.exec(register, check=True).stdout
    purge(site)
    vault = site.folder.parent / "vault.json"
    vault.write_text(json.dumps({"incident_gatherer_identity": pem}))
    run = site.play("monitor", "--diff", "-vvv", "-e", f"@{vault}")
    assert run.code == 0, run.said[-6000:]
    assert monitor.read(kept).decode() == pem
    after = monitor.exec(register, check=True).stdout
    assert after.partition("/")[0] == before.partition("/")[0]
    assert after.rpartition("/")[0] == before.rpartition("/")[0], "the same tub, at the same place"
    assert pem.splitlines()[3] not in run.said
    assert (
        monitor.exec(["stat", "-c", "%a %U", "/etc/lae-monitor/credentials/incidents-gatherer.pem"]).stdout
        == "600 root\n"
    )
    assert site.play("monitor", "-e", f"@{vault}").changed() == {"monitor1": 0}
    purge(site)

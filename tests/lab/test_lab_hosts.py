"""The lab keeps what it promises: else what is tested in it proves nothing.

Tests that boot another lab, or restart a host, are `full`: the playbooks' tests would fail with them.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lab_wheels
import pytest
from lab import Host, HostPlan, Lab, remove_orphans
from lab_places import CHECKOUT

OUTSIDE = "192.0.2.1"  # RFC 5737: nobody's
HERE = Path(__file__).parent
SMALL = [HostPlan("alone")]
AT_ONCE = (
    1.0  # seconds; a refusal, or no route, is known within a thousandth. What is lost without a word takes minutes
)

# Tells who connects how he is seen.
MIRROR = (
    "import socketserver, sys\n"
    "class Mirror(socketserver.StreamRequestHandler):\n"
    "    def handle(self): self.wfile.write(self.client_address[0].encode())\n"
    "socketserver.ThreadingTCPServer.allow_reuse_address = True\n"
    "socketserver.ThreadingTCPServer(('', int(sys.argv[1])), Mirror).serve_forever()\n"
)
ASK = (
    "import socket, sys, time\n"
    "began = time.monotonic()\n"
    "try: reply = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(99).decode()\n"
    "except OSError as error: reply = error.strerror or error\n"
    "print(time.monotonic() - began, reply)\n"
)


def ask(who, address, port):
    """What `who` is told at the address: how he is seen, or why he cannot connect. And how many seconds it took."""
    command = ["python3", "-c", ASK, address, str(port)]
    done = who.exec(command) if isinstance(who, Host) else who.run(command, capture_output=True, text=True)
    seconds, _, reply = done.stdout.strip().partition(" ")
    return reply, float(seconds)


def mirror(host, port):
    """Starts one that ends with the host."""
    host.exec(["systemd-run", "--quiet", f"--unit=mirror-{port}", "python3", "-c", MIRROR, str(port)], check=True)
    listens = f"until ss -Hltn 'sport = {port}' | grep -q .; do sleep 0.05; done"
    host.exec(["timeout", "20", "sh", "-c", listens], check=True)


@pytest.fixture(scope="module")
def monitor1(lab):
    ports = (7001, 7002, 9000)  # the first two are forwarded, as conftest.py has it; ours may use the others
    for port in ports:
        mirror(lab.hosts["monitor1"], port)
    yield lab.hosts["monitor1"]
    lab.hosts["monitor1"].exec(["systemctl", "stop", *(f"mirror-{port}" for port in ports)], check=True)


@pytest.fixture(scope="module")
def node1(lab):
    return lab.hosts["node1"]


@pytest.fixture(scope="module")
def node2(lab):
    return lab.hosts["node2"]


@pytest.mark.parametrize("name", ["monitor1", "node1", "node2"])
def test_systemd_runs_with_cron_and_sshd(lab, name):
    host = lab.hosts[name]
    assert host.exec(["systemctl", "is-system-running"]).stdout.strip() == "running", host.trouble()
    assert host.exec(["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
    assert host.exec(["systemctl", "is-active", "cron", "ssh"]).stdout.split() == ["active", "active"]
    assert host.exec(["hostname"]).stdout.strip() == name


def test_no_two_hosts_are_the_same(lab):
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({host.read(path) for host in lab.hosts.values()}) == 3, path


def test_ansible_reaches_every_host_and_trusts_none_unseen(lab, tmp_path):
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("".join(f"{host.name} ansible_host={host.address}\n" for host in lab.hosts.values()))
    options = (
        f"-o UserKnownHostsFile={lab.folder}/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
    )
    command = [
        Path(sys.executable).parent / "ansible", "-i", inventory, "all", "-m", "ansible.builtin.ping", "-u", "root",
        "--private-key", lab.folder / "id_ed25519", f"--ssh-common-args={options}",
    ]  # fmt: skip
    done = lab.run(command, capture_output=True, text=True)
    assert done.stdout.count("SUCCESS") == 3, done.stdout + done.stderr
    assert list(lab.places.sockets.iterdir()), "connections are shared where other labs do not see them"


def test_only_the_key_of_this_lab_comes_in(lab, tmp_path):
    assert (lab.folder / "id_ed25519").stat().st_mode & 0o777 == 0o600
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", tmp_path / "other"], check=True)
    known = f"UserKnownHostsFile={lab.folder}/known_hosts"
    address = f"root@{lab.hosts['node1'].address}"
    command = ["ssh", "-F", "/dev/null", "-o", known, "-o", "BatchMode=yes", "-i", tmp_path / "other", address, "true"]
    assert "Permission denied" in lab.run(command, capture_output=True, text=True).stderr


def test_hosts_reach_each_other(node1, node2):
    mirror(node2, 9001)
    assert ask(node1, "node2", 9001)[0] == node1.public_address


@pytest.mark.parametrize("name", ["monitor1", "node1", "the controller"])
def test_no_way_leads_out(lab, name):
    who = lab.hosts.get(name, lab)
    answer, seconds = ask(who, OUTSIDE, 80)
    assert answer == "Network is unreachable"
    assert seconds < AT_ONCE
    answer, seconds = ask(who, "example.org", 80)
    assert "name" in answer.lower(), "a name of the world is not known here"
    assert seconds < 10 * AT_ONCE


@pytest.mark.parametrize("port", [7001, 7002])
def test_a_forwarded_port_is_reached_and_shows_who_came(monitor1, node1, node2, port):
    assert ask(node1, "monitoring.lab", port)[0] == node1.public_address
    assert ask(node2, "monitor1", port)[0] == node2.public_address


def test_nothing_else_behind_translation_is_reached(monitor1, node1):
    for address, port in (("monitoring.lab", 9000), ("monitoring.lab", 22)):
        answer, seconds = ask(node1, address, port)
        assert (answer, seconds < AT_ONCE) == ("Connection refused", True)
    answer, seconds = ask(node1, monitor1.address, 7001)
    assert (answer, seconds < AT_ONCE) == ("Network is unreachable", True)


def test_even_who_knows_the_way_is_not_let_through(monitor1, node1):
    node1.exec(["ip", "route", "add", "10.78.0.0/24", "via", "10.77.0.1"], check=True)
    try:
        assert ask(node1, monitor1.address, 7001)[0] == "No route to host"
    finally:
        node1.exec(["ip", "route", "del", "10.78.0.0/24"], check=True)


def test_translation_shows_connections_outward_as_the_public_address(monitor1, node2):
    mirror(node2, 9002)
    assert ask(monitor1, "node2", 9002)[0] == monitor1.public_address == "10.77.0.200"


def test_a_host_behind_translation_reaches_itself_by_its_public_name(monitor1):
    assert ask(monitor1, "monitoring.lab", 7002)[0] == "10.78.0.1"


def test_the_controller_reaches_hosts_as_they_are_and_as_others_do(lab, monitor1):
    assert ask(lab, monitor1.address, 9000)[0] == "10.78.0.1"
    assert ask(lab, "monitoring.lab", 7002)[0]
    assert lab.run(lab.ssh("monitor1", "hostname"), capture_output=True, text=True).stdout == "monitor1\n"


def test_a_cut_host_is_silent_until_it_is_healed(lab, node2):
    def ssh():
        command = lab.ssh("node2", "hostname")
        command[1:1] = ["-o", "ConnectTimeout=2"]
        return lab.run(command, capture_output=True, text=True)

    assert ssh().stdout == "node2\n"
    node2.cut()
    try:
        done = ssh()
        assert (done.returncode, done.stdout) == (255, "")
        assert "timed out" in done.stderr
        assert node2.exec(["hostname"]).stdout == "node2\n"
    finally:
        node2.heal()
    assert ssh().stdout == "node2\n"


def test_files_are_written_and_read_byte_by_byte(node1):
    data = bytes(range(256)) + b"\r\nend\r"
    node1.write("/home/customer/bytes", data, 0o640, "customer:customer")
    assert node1.read("/home/customer/bytes") == data
    assert node1.exec(["stat", "-c", "%a %U %G", "/home/customer/bytes"]).stdout == "640 customer customer\n"


def test_a_real_node_answers_and_knows_its_introducer(node1):
    asked = node1.exec(["curl", "--silent", "--fail", "http://127.0.0.1:3456/"], check=True).stdout
    assert "Tahoe-LAFS" in asked
    assert node1.exec(["test", "-s", "/home/customer/introducer/private/introducer.furl"]).returncode == 0
    connected = "until curl --silent 'http://127.0.0.1:3456/?t=json' | grep -q 'Connected to'; do sleep 0.1; done"
    node1.exec(["timeout", "30", "sh", "-c", connected], check=True)
    assert node1.exec(["sudo", "-u", "customer", "/home/customer/restart.sh"]).returncode == 0


ORDERLY = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'echo in order > /var/tmp/ended'
[Install]
WantedBy=multi-user.target
"""


@pytest.mark.full
def test_a_restart_ends_units_in_order_and_brings_them_back(node1):
    node1.write("/etc/systemd/system/orderly.service", ORDERLY.encode())
    node1.exec(["systemctl", "enable", "--quiet", "--now", "orderly"], check=True)
    node1.write("/run/volatile", b"")
    node1.restart()
    assert node1.read("/var/tmp/ended") == b"in order\n"
    assert node1.exec(["test", "-e", "/run/volatile"]).returncode == 1
    assert node1.exec(["systemctl", "is-active", "cron", "ssh", "orderly"]).stdout.split() == ["active"] * 3
    page = "until curl --silent --fail http://127.0.0.1:3456/ >/dev/null; do sleep 0.1; done"
    node1.exec(["timeout", "60", "sh", "-c", page], check=True)
    asked = node1.exec(["systemctl", "show", "--value", "-P", "NRestarts", "tahoe-introducer", "tahoe-storageserver"])
    assert asked.stdout.split() == ["0", "0"]


def traces(lab):
    """What a lab leaves on the machine while it is up."""
    ident = lab.places.ident
    look = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && [ -e "/sys/fs/cgroup/$0" ]'
    group = subprocess.run(["unshare", "--mount", "sh", "-c", look, ident], check=False)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return {
        "network namespaces": ident
        in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout,
        "mounts": ident in Path("/proc/self/mountinfo").read_text(),
        "control group": group.returncode == 0,
        "folder for the kernel": lab.places.run.exists(),
        "what hosts wrote": lab.places.storage.exists(),
        "processes": any(ident.encode() in line for line in lines),
    }


@pytest.fixture
def small(lab_is_possible):
    with Lab(f"small-{os.getpid()}", owned=True) as lab:
        lab.up(SMALL)
        yield lab


@pytest.mark.full
def test_two_labs_have_the_same_addresses_and_never_meet(lab, small):
    assert small.hosts["alone"].address == lab.hosts["node1"].address
    assert small.run(small.ssh("alone", "hostname"), capture_output=True, text=True).stdout == "alone\n"
    assert lab.run(lab.ssh("node1", "hostname"), capture_output=True, text=True).stdout == "node1\n"


@pytest.mark.full
def test_down_leaves_nothing(small):
    assert set(traces(small).values()) == {True}
    left = small.popen(["sleep", "1000"])
    small.down()
    assert {what: there for what, there in traces(small).items() if there} == {}
    assert left.wait(10) == -signal.SIGKILL


def cli(*arguments, folder=HERE):
    command = [sys.executable, folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_the_command_line_does_the_same(lab):
    def said(*arguments):
        done = cli(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    name = ("--name", lab.name)
    assert said("exec", *name, "node1", "--", "sh", "-c", "hostname; id -u") == "node1\n0\n"
    assert said("ssh", *name, "node1", "hostname") == "node1\n"
    assert said("run", *name, "--", "sh", "-c", "echo $LAE_LAB; pwd") == f"{lab.folder}\n{Path.cwd()}\n"
    assert cli("run", *name, "--", "false").returncode == 1
    assert "10.77.0.12" in said("status")
    assert "off the network" in said("cut", *name, "node2")
    assert "answers" in said("heal", *name, "node2")
    assert "runs" in said("restart", *name, "node2")
    assert "node2" in cli("ssh", *name, "node9").stderr
    assert "is not up" in cli("ssh", "--name", "unborn", "node1").stderr


@pytest.fixture
def abandoned(lab_is_possible):
    """A lab whose process was killed when it was up."""
    made = Lab(f"abandoned-{os.getpid()}")
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import lab\n"
        "lab.Lab(sys.argv[2], owned=True).up([lab.HostPlan('alone')])\nprint('up', flush=True); time.sleep(1000)"
    )
    command = [sys.executable, "-c", script, Path(__file__).parent, made.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as maker:
        try:
            assert maker.stdout.readline() == "up\n"
            used = cli("up", "--name", made.name)
            assert (used.returncode, "is used by process" in used.stderr) == (69, True), "a lab in use is not replaced"
            assert Lab(made.name).used_by() == maker.pid
        finally:
            maker.kill()
    yield made
    made.down()


@pytest.mark.full
def test_a_lab_whose_maker_died_is_removed_by_hand(abandoned):
    assert set(traces(abandoned).values()) == {True}
    done = cli("down", abandoned.name)
    assert (done.returncode, done.stdout) == (0, f"The lab {abandoned.name} is down.\n")
    assert {what: there for what, there in traces(abandoned).items() if there} == {}


@pytest.mark.full
def test_a_lab_whose_maker_died_is_removed_by_whoever_comes_next(abandoned):
    remove_orphans()
    assert {what: there for what, there in traces(abandoned).items() if there} == {}


@pytest.mark.full
def test_down_all_spares_what_is_used_and_other_checkouts(small, tmp_path):
    checkout = tmp_path / "checkout"
    for path in (HERE, lab_wheels.LOCK):
        target = checkout / path.relative_to(CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    folder = checkout / HERE.relative_to(CHECKOUT)
    with Lab("used", owned=True, checkout=checkout) as used, Lab("idle", checkout=checkout) as idle:
        used.up(SMALL)
        idle.up(SMALL)
        said = cli("down", "--all", folder=folder).stdout
        assert "The lab idle is down." in said
        assert f"The lab used is used by process {os.getpid()}." in said
        assert [lab.hosts["alone"].exec(["true"]).returncode for lab in (used, small)] == [0, 0]
        assert {what: there for what, there in traces(idle).items() if there} == {}
        assert cli("down", "used", folder=folder).stdout == "The lab used is down.\n"


@pytest.mark.full
def test_logs_of_labs_that_are_down_are_kept_for_a_day(small):
    old, fresh = Lab("old-logs").folder, Lab("fresh-logs").folder
    for folder in (old, fresh):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    for folder in (old, small.folder):
        os.utime(folder, (0, 0))
    remove_orphans()
    assert (old.exists(), fresh.exists(), small.folder.exists()) == (False, True, True)
    shutil.rmtree(fresh)


@pytest.mark.full
def test_what_is_left_of_half_a_lab_is_removed(small):
    subprocess.run(["ip", "netns", "del", small.places.network_of("alone")], check=True)
    subprocess.run(["umount", small.places.mount_namespace], check=True)
    small.up(SMALL)
    assert small.hosts["alone"].exec(["hostname"]).stdout == "alone\n"


@pytest.mark.full
def test_a_host_that_does_not_come_up_takes_the_lab_with_it_and_says_why(lab_is_possible, monkeypatch):
    def broken(host):
        host.exec(["systemd-run", "--quiet", "--unit=broken", "sh", "-c", "echo out of order; exit 3"], check=True)
        host.exec(["sh", "-c", "until systemctl is-failed --quiet broken; do sleep 0.05; done"], check=True)
        host.exec(["false"], check=True)

    monkeypatch.setattr("lab_tahoe.make", broken)
    lab = Lab(f"broken-{os.getpid()}", owned=True)
    with pytest.raises(Exception, match="alone: false: 1") as caught:
        lab.up([HostPlan("alone", tahoe=True)])
    assert "out of order" in "".join(caught.value.__notes__)
    assert {what: there for what, there in traces(lab).items() if there} == {}

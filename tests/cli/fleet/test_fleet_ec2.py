"""`lae-monitor fleet ec2` against a real EC2 API (moto's server)."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path

import boto3
import pytest
from command_line import lae_monitor

from lae_monitor.archive.journal import read as read_journal
from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents.state import State
from lae_monitor.net.furls.ledger import LastContact
from lae_monitor.process.running import only_one

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
REGION = "eu-north-1"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
NOBODY = 65534

# moto's server, in which every instance was launched an hour ago
AGED = """
import datetime, sys
from moto.ec2.models import instances
now = instances.utcnow
instances.utcnow = lambda: now() - datetime.timedelta(hours=1)
from moto.server import main
main(sys.argv[1:])
"""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # boto3 leaves closing to the collector


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Moto:
    """A server that answers as AWS does, and how to change what it answers."""

    def __init__(self, folder, *command):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"moto-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "-H", "127.0.0.1", "-p", str(self.port)], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.post("reset")
                break
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)

    def post(self, path, data=b""):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(
            f"{self.url}/moto-api/{path}", data, {"Content-Type": "text/plain"}, method="POST"
        )
        with opener.open(request, timeout=30):
            pass

    @cached_property
    def image(self):
        return self.client().describe_images()["Images"][0]["ImageId"]

    @cache  # noqa: B019 - there are two servers
    def client(self, service="ec2", region=REGION):
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def run(self, name="", role="", region=REGION, **more):
        """Runs an instance; returns its id."""
        client = self.client(region=region)
        tags = [{"Key": key, "Value": value} for key, value in (("Name", name), ("lae_role", role)) if value]
        tagged = {"TagSpecifications": [{"ResourceType": "instance", "Tags": tags}]} if tags else {}
        started = client.run_instances(ImageId=self.image, MinCount=1, MaxCount=1, **tagged, **more)
        return started["Instances"][0]["InstanceId"]

    def tag(self, instance, **tags):
        self.client().create_tags(Resources=[instance], Tags=[{"Key": key, "Value": tags[key]} for key in tags])

    def stop_it(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """moto's server: `now`, and `aged`, each started when a test asks for it."""
    folder = tmp_path_factory.mktemp("moto")
    commands = {"now": [str(BIN / "moto_server")], "aged": [sys.executable, "-c", AGED]}
    running = {}

    def find(name):
        if name not in running:
            running[name] = Moto(folder, *commands[name])
        running[name].post("reset")
        return running[name]

    yield find
    for server in running.values():
        server.stop_it()


@pytest.fixture
def ec2(servers):
    return servers("now")


class Fleet:
    """A monitor's state folder, and the command that works on it."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.config = folder / "lae-monitor.toml"
        self.config.write_text(f'[state]\npath = "{self.state}"\n[fleet]\nname = "lae"\n[archive]\nreserve = "1 KiB"\n')
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        self.ask(None, AWS_DEFAULT_REGION=REGION, **KEYS)

    def ask(self, server, **environ):
        if server is not None:
            self.environ["AWS_ENDPOINT_URL_EC2"] = server if isinstance(server, str) else server.url
        self.environ |= environ
        return self

    def ec2(self, *arguments, by_cron=False):
        """In this process, where boto3 is loaded already; or in one of its own, as cron starts it."""
        words = ["--config", str(self.config), "fleet", "ec2", *arguments]
        if by_cron:
            done = subprocess.run(
                [sys.executable, "-m", "lae_monitor", *words],
                capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=self.environ,
            )  # fmt: skip
        else:
            others = {name: None for name in os.environ if name.startswith("AWS_")}
            done = lae_monitor(*words, env=others | self.environ)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def kinds(self, *arguments):
        """Exit code, and the kinds of findings and of changes."""
        done = self.ec2("--json", *arguments)
        said = json.loads(done.stdout)
        return (
            done.returncode,
            sorted((one["finding"], one["host"]) for one in said["findings"]),
            sorted((one["change"], one["finding"], one["host"]) for one in said["changes"]),
        )

    def hear(self, *hosts, cluster="lae"):
        state = State(self.state / "gather-incidents.db")
        state.note(LastContact(cluster, host, 1.7e9, "tub", "10.0.0.1") for host in hosts)
        state.close()

    def marks(self):
        """What is in the journal, as the mover reads it."""
        rows = []
        for path in sorted((self.state / "archive").glob("journal/*/*/*/fleet-ec2.jsonl")):
            name, data = str(path.relative_to(self.state / "archive")), path.read_bytes()
            rows += read_journal(Span(name, 0, len(data)), data)
        return rows

    @property
    def list(self):
        return self.state / "fleet-ec2.json"


@pytest.fixture
def fleet(tmp_path, ec2):
    return Fleet(tmp_path).ask(ec2)


def test_the_first_run_begins_the_list_with_one_mark_and_says_what_is_wrong(fleet, ec2):
    fine, untagged = ec2.run("node1", "node"), ec2.run()
    ec2.run("mon", "monitor")
    fleet.hear("node1")
    done = fleet.ec2(by_cron=True)
    assert done.returncode == 1
    first, *rest = done.stdout.splitlines()
    assert first == f"The list of EC2 instances begins: 3 in {REGION}."
    (line,) = rest
    assert re.fullmatch(rf"new +10\.\S+ +untagged +{untagged} has no tag Name and no tag lae_role", line)
    assert done.stderr.startswith(f"Next: tag {untagged} with Name and lae_role")
    (mark,) = fleet.marks()
    assert (mark.kind, mark.cluster, mark.host, mark.level) == ("mark", "lae", "", "info")
    assert mark.title == f"EC2: the list of EC2 instances begins: 3 in {REGION}"
    assert untagged in mark.text and fine not in mark.text
    assert stat.S_IMODE(fleet.list.stat().st_mode) == 0o600
    again = fleet.ec2()
    assert (again.returncode, again.stdout, again.stderr) == (1, "", ""), "nothing has changed"


def test_drift_is_said_once_is_on_the_hosts_timeline_and_ends_with_an_all_clear(fleet, ec2):
    node1, node2 = ec2.run("node1", "node"), ec2.run("node2", "monitor,node")
    fleet.hear("node1", "node2")
    assert fleet.ec2().returncode == 0
    aws = ec2.client()
    aws.stop_instances(InstanceIds=[node2])
    done = fleet.ec2()
    assert done.returncode == 1
    assert done.stdout.split()[:3] == ["new", "node2", "stopped"]
    assert done.stderr == f"Next: start {node2}, or take its tag lae_role away\n"
    mark = fleet.marks()[-1]
    assert (mark.cluster, mark.host, mark.level) == ("lae", "node2", "warning")
    assert mark.title == f"EC2: {node2} is stopped, although it has the role 'monitor,node'"
    assert mark.attrs == {"change": "new", "finding": "stopped", "instances": node2, "regions": REGION}
    for _ in range(2):
        silent = fleet.ec2()
        assert (silent.returncode, silent.stdout, silent.stderr) == (1, "", "")
    aws.start_instances(InstanceIds=[node2])  # with another public address, as on EC2
    moved, over = fleet.ec2().stdout.splitlines()
    assert moved.split()[:4] == ["new", "node2", "changed", "address"]
    assert over.split()[:3] == ["over", "node2", "stopped"]
    assert (f"EC2: over: stopped: {node2}", "info") in [(mark.title, mark.level) for mark in fleet.marks()]
    clear = fleet.ec2()
    assert (clear.returncode, clear.stdout) == (
        0,
        "Everything appears to be working again: 2 instances, no findings. "
        "Told last time, and not repeated: node2 changed address.\n",
    )
    silent = fleet.ec2()
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")
    assert len(fleet.marks()) == 4
    aws.terminate_instances(InstanceIds=[node1])
    gone = fleet.ec2()
    assert (gone.returncode, gone.stdout.split()[:3]) == (1, ["new", "node1", "gone"])
    clear = fleet.ec2()
    assert (clear.returncode, clear.stdout) == (
        0, "Everything appears to be working again: 1 instance, no findings. Told last time, and not repeated: node1 gone.\n",
    )  # fmt: skip
    assert fleet.ec2().stdout == ""


def test_replaced_renamed_new_duplicate_and_not_reporting(fleet, ec2):
    first, other = ec2.run("node1", "node"), ec2.run("node2", "node")
    fleet.hear("node1", "node2")
    assert fleet.kinds() == (0, [], [("new", "begins", "")])
    ec2.client().terminate_instances(InstanceIds=[first])
    ec2.run("node1", "node")
    assert fleet.kinds() == (1, [("replaced", "node1")], [("new", "replaced", "node1")])
    ec2.tag(other, Name="node3")
    assert fleet.kinds() == (
        1,
        [("not_reporting", "node3"), ("renamed", "node3")],
        [("new", "not_reporting", "node3"), ("new", "renamed", "node3")],
    )
    fleet.hear("node3")
    ec2.run("node1", "monitor")
    assert fleet.kinds() == (
        1,
        [("duplicate_name", "node1")],
        [("new", "duplicate_name", "node1"), ("new", "new", "node1"), ("over", "not_reporting", "node3")],
    )


def test_a_host_of_another_cluster_has_its_mark_there(fleet, ec2):
    node = ec2.run("node1", "node")
    fleet.hear("node1", cluster="other")
    fleet.ec2()
    ec2.client().stop_instances(InstanceIds=[node])
    fleet.ec2()
    assert (fleet.marks()[-1].cluster, fleet.marks()[-1].host) == ("other", "node1")


def test_changed_addresses(fleet, ec2):
    node = ec2.run("node1", "monitor")
    aws = ec2.client()
    assert fleet.ec2().returncode == 0
    address = aws.allocate_address(Domain="vpc")
    aws.associate_address(InstanceId=node, AllocationId=address["AllocationId"])
    done = fleet.ec2()
    assert done.returncode == 1
    assert f"became {address['PublicIp']}" in done.stdout
    assert fleet.ec2("--json").returncode == 0


def test_an_old_instance_that_was_not_there_is_unknown_and_a_restart_is_told(tmp_path, servers):
    aged = servers("aged")
    fleet = Fleet(tmp_path).ask(aged)
    aged.run("mon", "monitor")
    assert fleet.kinds() == (0, [], [("new", "begins", "")])
    aged.run("mon2", "monitor")
    assert fleet.kinds() == (1, [("unknown", "mon2")], [("new", "unknown", "mon2")])
    assert fleet.kinds() == (0, [], [])
    kept = json.loads(fleet.list.read_text())
    kept["regions"][REGION][0]["launched"] -= 3600.0  # moto starts what was stopped without another launch time
    fleet.list.write_text(json.dumps(kept))
    assert fleet.kinds() == (1, [("restarted", "mon")], [("new", "restarted", "mon")])


def test_every_page_of_an_answer_is_read(fleet, ec2):
    """moto gives a reservation to each call, and a page of 100 reservations."""
    for number in range(103):
        ec2.run(f"mon{number}", "monitor")
    before = ec2.log.read_text().count('"POST / HTTP')
    done = fleet.ec2("--json")
    assert (done.returncode, len(json.loads(done.stdout)["instances"])) == (0, 103)
    assert ec2.log.read_text().count('"POST / HTTP') == before + 2


def test_the_list_is_printed_whenever_it_is_asked_for(fleet, ec2):
    node = ec2.run("node1", "node")
    furls = fleet.state / "credentials" / "incidents" / "lae"
    furls.mkdir(parents=True)
    (furls / "node1.furl").touch()  # registered, which is not yet heard
    ec2.run("mon", "monitor")
    first = fleet.ec2("--list")
    second = fleet.ec2("--list")
    assert (first.returncode, second.returncode) == (1, 1)
    heading, mon, line = second.stdout.splitlines()
    assert heading.split() == ["name", "id", "region", "state", "role", "private", "public", "launched", "finding"]
    assert line.split()[:5] == ["node1", node, REGION, "running", "node"]
    assert line.endswith("not reporting") and mon.endswith("-")
    assert first.stdout.startswith(second.stdout)
    (one,) = [one for one in json.loads(fleet.ec2("--json").stdout)["instances"] if one["id"] == node]
    assert (one["name"], one["role"], one["state"], one["findings"]) == ("node1", "node", "running", ["not_reporting"])


def test_regions_are_asked_each_and_one_not_asked_keeps_its_list(fleet, ec2):
    ec2.run("here", "monitor")
    there = ec2.run("there", "monitor", region="us-east-1")
    both = ("--region", REGION, "--region", "us-east-1")
    assert fleet.kinds(*both) == (0, [], [("new", "begins", "")])
    ec2.client(region="us-east-1").terminate_instances(InstanceIds=[there])
    assert fleet.kinds() == (0, [], [])
    assert fleet.kinds(*both) == (1, [("gone", "there")], [("new", "gone", "there")])


def test_the_region_comes_from_the_environment_or_the_profile(fleet, ec2, tmp_path):
    ec2.run("mon", "monitor")
    del fleet.environ["AWS_DEFAULT_REGION"]
    done = fleet.ec2()
    assert (done.returncode, done.stderr.splitlines()[0]) == (69, "lae-monitor: no region is set")
    assert "Next: say which with --region" in done.stderr
    fleet.ask(None, AWS_REGION=REGION)
    assert f"1 in {REGION}" in fleet.ec2().stdout
    del fleet.environ["AWS_REGION"]
    (tmp_path / "config").write_text("[profile fleet]\nregion = us-east-1\n")
    fleet.ask(None, AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_PROFILE="fleet")
    assert "0 in us-east-1" in fleet.ec2().stdout


def test_another_tag_may_hold_the_role(fleet, ec2):
    node = ec2.run("node1")
    ec2.tag(node, purpose="monitor")
    assert fleet.kinds("--tag-role", "purpose")[:2] == (0, [])
    assert fleet.kinds()[:2] == (1, [("untagged", "node1")])


HOSTILE = [
    "../../../evil",
    "two\nlines",
    "\u009b31mred\u202e",
    "a" * 255,
    "/etc/passwd",
    "-rf",
    "né",
    "a b",
    "<b>",
    "'; drop",
]


def test_hostile_names_are_findings_are_shown_safely_and_are_no_paths(fleet, ec2):
    instances = [ec2.run(name, "node") for name in HOSTILE]
    fleet.ec2()
    ec2.client().stop_instances(InstanceIds=instances)
    for arguments in ([], ["--list"], ["--json"]):
        done = fleet.ec2(*arguments)
        assert done.returncode == 1
        assert all(character.isprintable() or character == "\n" for character in done.stdout + done.stderr), done.stdout
        if arguments != ["--json"]:
            assert done.stdout.count("\n") == {0: 20, 1: 11}[len(arguments)]
            assert all(len(line) < 400 for line in done.stdout.splitlines())
    said = json.loads(done.stdout)
    assert {one["name"] for one in said["instances"]} == {*HOSTILE}, "JSON tells them as they are"
    assert {one["finding"] for one in said["findings"]} == {"bad_name", "stopped"}
    stopped = [mark for mark in fleet.marks() if mark.attrs.get("finding") == "stopped"]
    assert len(stopped) == len(HOSTILE)
    assert all(re.fullmatch(r"10\.[0-9.]+", mark.host) for mark in stopped), "known by their addresses"
    made = {path.name for path in fleet.folder.rglob("*")}
    assert not made & {*HOSTILE, "evil", "passwd"} and not any("aaaa" in name for name in made)


def test_help_loads_nothing_heavy():
    for command in ([], ["ec2"], ["status"]):
        words = [sys.executable, "-X", "importtime", "-m", "lae_monitor", "fleet", *command, "--help"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "click" in loaded
        assert not {"boto3", "botocore", "asyncio", "msgspec", "lae_monitor.config", "lae_monitor.archive"} & loaded


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def failed(done, code, words, following):
    assert (done.returncode, done.stdout) == (code, "")
    said, hint = done.stderr.splitlines()
    assert words in said, done.stderr
    assert following in hint and hint.startswith("Next: "), done.stderr
    assert len(said) < 500


def test_no_network(fleet):
    failed(fleet.ask(f"http://127.0.0.1:{free_port()}").ec2(), 69, "cannot be reached", "look at the network")
    assert not fleet.list.exists() and not fleet.marks()
    said = json.loads(fleet.ec2("--json").stdout)
    assert set(said) == {"error", "next"}


def test_no_credentials(fleet):
    for name in KEYS:
        del fleet.environ[name]
    failed(fleet.ec2(), 69, "there are no AWS credentials", "ec2:DescribeInstances")
    fleet.ask(None, AWS_ACCESS_KEY_ID="half")
    failed(fleet.ec2(), 69, "Partial credentials", "AWS_ACCESS_KEY_ID")
    fleet.ask(None, AWS_PROFILE="nobody")
    failed(fleet.ec2(), 69, "(nobody) could not be found", "AWS_PROFILE")


def test_access_denied(fleet, ec2):
    iam = ec2.client("iam", "us-east-1")
    iam.create_user(UserName="cron")
    key = iam.create_access_key(UserName="cron")["AccessKey"]
    ec2.post("reset-auth", b"0")
    try:
        failed(fleet.ec2(), 69, "does not take the credentials (AuthFailure", "renew them")
        fleet.ask(None, AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"])
        failed(fleet.ec2(), 69, "may not ec2:DescribeInstances (AccessDenied", "allow ec2:DescribeInstances")
    finally:
        ec2.post("reset-auth", b"inf")


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [("nonsense", "cannot be reached"), ("{other}", "EC2 in eu-north-1")],
    ids=["no URL", "no EC2"],
)
def test_what_is_not_ec2(fleet, ec2, endpoint, words):
    failed(fleet.ask(endpoint.format(other=f"{ec2.url}/moto-api/data.json")).ec2(), 69, words, "")


def test_bad_region_names(fleet):
    failed(fleet.ec2("--region", "not/a\nregion"), 69, "there is no such region", "--region")


def test_a_wrong_configuration_and_a_missing_state_folder(fleet):
    fleet.state.rmdir()
    failed(fleet.ec2(), 69, f"there is no {fleet.state}", "lae-monitor check config")
    assert not fleet.state.exists()
    fleet.config.write_text("[stat]\n")
    assert fleet.ec2().returncode == 78


def test_a_second_run_at_the_same_time_is_sent_away(fleet, ec2):
    with only_one(fleet.state, "fleet-ec2"):
        failed(fleet.ec2(), 75, "already running", "try again")
    ec2.run("node1", "node")
    with ThreadPoolExecutor(6) as pool:
        ended = [*pool.map(lambda _: fleet.ec2("--json", by_cron=True), range(6))]
    assert {done.returncode for done in ended} <= {1, 75}
    assert any(done.returncode == 1 for done in ended)
    assert len(fleet.marks()) == 1
    assert list(json.loads(fleet.list.read_text())["regions"]) == [REGION]


def test_what_is_not_journalled_is_not_taken_note_of(fleet, ec2):
    node = ec2.run("node1", "monitor")
    fleet.ec2()
    before = fleet.list.read_bytes()
    ec2.client().stop_instances(InstanceIds=[node])
    usual = fleet.config.read_text()
    fleet.config.write_text(usual.replace("1 KiB", "99 TiB"))
    failed(fleet.ec2(), 69, "the next run shows them again", "lae-monitor archive status")
    assert fleet.list.read_bytes() == before
    fleet.config.write_text(usual)
    assert fleet.kinds() == (1, [("stopped", "node1")], [("new", "stopped", "node1")])


def test_what_is_journalled_and_not_taken_note_of_is_told_again(fleet, ec2):
    node = ec2.run("node1", "monitor")
    fleet.ec2()
    ec2.client().stop_instances(InstanceIds=[node])
    in_the_way = fleet.state / ".fleet-ec2.json.tmp"
    in_the_way.mkdir()
    done = fleet.ec2()
    assert (done.returncode, str(in_the_way) in done.stderr) == (69, True)
    assert [mark.attrs["finding"] for mark in fleet.marks()] == ["begins", "stopped"], "first the journal"
    in_the_way.rmdir()
    assert fleet.kinds() == (1, [("stopped", "node1")], [("new", "stopped", "node1")])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"nonsense", b'{"version":99}', b'{"version":1,"regions":7}', b"\xff" * 9]
)
def test_a_list_that_cannot_be_understood_is_said_and_left(fleet, content):
    fleet.list.write_bytes(content)
    failed(fleet.ec2(), 69, "fleet-ec2.json", f"remove {fleet.list}")
    assert fleet.list.read_bytes() == content


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root only: it asks as root, and writes as the owner of the state folder")
def test_root_asks_with_its_own_credentials_and_writes_as_the_owner(fleet, ec2, tmp_path):
    ec2.run("mon", "monitor")
    for name in KEYS:
        del fleet.environ[name]
    own = tmp_path / ".aws"
    own.mkdir(mode=0o700)
    (own / "credentials").write_text("[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    (own / "credentials").chmod(0o600)
    os.chown(fleet.state, NOBODY, NOBODY)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    assert fleet.ec2(by_cron=True).returncode == 0
    made = [fleet.state, *fleet.state.rglob("*")]
    assert len(made) > 4
    assert [path for path in made if path.lstat().st_uid != NOBODY] == []

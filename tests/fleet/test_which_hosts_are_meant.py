"""Hosts by name, in CSV files, in inventories and on EC2: each once, under a checked name."""

import json

import pytest
from sshd import ME

from lae_monitor.core.names import HostName
from lae_monitor.fleet.targets import BadTargets, Passed, Target, each_once, from_ansible, from_csv, from_ec2, target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted.*")
NAMES = {"10.0.0.7": HostName("seven"), "2001:db8::9": HostName("nine")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1.example", ("node1.example", "node1.example", "", 0)),
        ("10.0.0.7", ("seven", "10.0.0.7", "", 0)),
        ("10.0.0.8:2222", ("10.0.0.8", "10.0.0.8", "", 2222)),
        ("admin@node1:22", ("node1", "node1", "admin", 22)),
        ("n1=admin@10.0.0.7:22", ("n1", "10.0.0.7", "admin", 22)),
        ("[2001:db8::1]:22", ("ip6-2001-0db8-0000-0000-0000-0000-0000-0001", "2001:db8::1", "", 22)),
        ("n6=2001:db8::1", ("n6", "2001:db8::1", "", 0)),
        ("[2001:DB8:0::9]:22", ("nine", "2001:DB8:0::9", "", 22)),
        ("::ffff:10.0.0.7", ("seven", "::ffff:10.0.0.7", "", 0)),
    ],
)
def test_a_host_is_understood(text, expected):
    assert target(text, NAMES) == Target(*expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=id",
        "a b",
        "host;id",
        "$(id)",
        "x=",
        "n1=../etc",
        "../a",
        "a@b@c",
        "host:99999",
        "host:x",
        "n/1=h",
    ],
)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(BadTargets):
        target(text, NAMES)


def test_a_column_is_found_whatever_its_case_and_who_is_away_is_passed_over(tmp_path):
    path = tmp_path / "customerinfo.csv"
    path.write_bytes(
        b"\xef\xbb\xbfRECORD_ADDED_TIME,INSTANCE_ID,PUBLICHOST,STATUS,name\r\n"
        b"1,i-1,10.0.0.1,running,one\r\n2,i-2,10.0.0.2,terminated,two\r\n3,i-3,,running,three\r\n\r\n5,i-5,10.0.0.7,,\r\n"
    )
    targets, passed = from_csv(path, "publichost", "", NAMES)
    assert targets == [Target(HostName("10.0.0.1"), "10.0.0.1"), Target(HostName("seven"), "10.0.0.7")]
    assert passed == [Passed("10.0.0.2", "its status is terminated"), Passed("line 4", "no publichost")]
    assert from_csv(path, "publichost", "name", {})[0][0] == Target(HostName("one"), "10.0.0.1")
    with pytest.raises(BadTargets, match="has no column host; it has record_added_time"):
        from_csv(path, "host", "", {})
    path.write_text("publichost\n../../etc\n")
    with pytest.raises(BadTargets, match="line 2"):
        from_csv(path, "publichost", "", {})
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadTargets):
        from_csv(path, "publichost", "", {})


YAML = """
all:
  children:
    lae_node:
      hosts:
        node1: {ansible_host: 10.0.0.1, ansible_port: 2222, ansible_user: ubuntu}
      children:
        more: {hosts: {node2: }}
    lae_monitor: {hosts: {monitor: {ansible_host: 10.0.0.9}}}
"""
INI = "[lae_node]\nnode1 ansible_host=10.0.0.1 ansible_port=2222 ansible_user=ubuntu\n[lae_node:children]\nmore\n[more]\nnode2\n[lae_monitor]\nmonitor\n"


@pytest.mark.parametrize(("name", "text"), [("hosts.yml", YAML), ("hosts.ini", INI)])
def test_an_ansible_inventory_says_where_its_hosts_are(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert from_ansible(path, "lae_node") == [
        Target(HostName("node1"), "10.0.0.1", "ubuntu", 2222),
        Target(HostName("node2"), "node2"),
    ]
    assert len(from_ansible(path, "all")) == 3
    with pytest.raises(BadTargets, match="no host in group nothing"):
        from_ansible(path, "nothing")


def test_two_hosts_of_one_name_or_address_are_refused_and_the_same_twice_is_one():
    one = Target(HostName("a"), "10.0.0.1")
    assert each_once([one, one]) == [one]
    for other in (Target(HostName("a"), "10.0.0.2"), Target(HostName("b"), "10.0.0.1")):
        with pytest.raises(BadTargets, match="two hosts with one"):
            each_once([one, other])


def test_running_nodes_of_ec2_are_meant_and_those_without_a_public_address_passed_over(monkeypatch):
    boto3 = pytest.importorskip("boto3")
    from moto import mock_aws

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client = boto3.client("ec2", region_name="eu-north-1")
        image = client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]

        def start(name, role, **more):
            tags = [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": "Name", "Value": name}, {"Key": "lae_role", "Value": role}],
                }
            ]
            done = client.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags, **more)
            return done["Instances"][0]["InstanceId"]

        start("node1", "node"), start("both", "monitor,node"), start("monitor", "monitor")
        client.stop_instances(InstanceIds=[start("asleep", "node")])
        targets, passed = from_ec2(["eu-north-1"], "lae_role")
        assert {str(one.name) for one in targets} == {"node1", "both"}
        assert all(one.address for one in targets)
        assert passed == [Passed("asleep", "it is stopped")]
        private, _ = from_ec2(["eu-north-1"], "lae_role", private=True)
        assert {one.address for one in private}.isdisjoint({one.address for one in targets})


def test_lists_and_names_go_together(fleet, new_host):
    one, two, three = new_host(), new_host(), new_host()
    fleet.know(one, two, three)
    file = fleet.folder / "hosts.csv"
    file.write_text("publichost,name\n127.0.0.1,gone\n")
    inventory = fleet.folder / "hosts.ini"
    inventory.write_text(
        f"[lae_node]\ntwo ansible_host=127.0.0.1 ansible_port={two.port} ansible_user=nobody-of-that-name\n"
    )
    done = fleet(
        "register", "incident", f"one=127.0.0.1:{one.port}", "--inventory", inventory, "--wait", 0, "--json",
    )  # fmt: skip
    assert [host["host"] for host in json.loads(done.stdout)["hosts"]] == ["one", "two"]
    assert (one.restarts, two.restarts) == (1, 1)
    done = fleet(
        "register", "incident", "--csv", file, "--name-column", "name", "--port", three.port, "--wait", 0, "--json"
    )
    assert [host["host"] for host in json.loads(done.stdout)["hosts"]] == ["gone"]
    with fleet.config.open("a") as config:
        config.write('[fleet.inventory]\n"127.0.0.1" = "three"\n')
    done = fleet("set-option", "node", "a", "b", "--configured", "--port", three.port, "--json")
    assert [host["host"] for host in json.loads(done.stdout)["hosts"]] == ["three"]
    assert three.restarts == 2
    assert ME

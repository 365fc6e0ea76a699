"""uninstall.yml leaves nothing but what was gathered, and that only until it is told to purge."""

import json

import pytest
from lab_hosts import await_that
from lab_site import HOSTS, LAE

STATE = "/var/lib/lae-monitor"


def test_uninstalled_nothing_is_left_but_what_was_gathered(deployed):
    monitor = deployed.monitor
    deployed.shell(
        "ansible lae_node -m ansible.builtin.command -a "
        "'curl --silent --show-error --fail --form details=before http://127.0.0.1:3456/report_incident'"
    )
    await_that(lambda: len(deployed.ask("search", "before kind:incident")["rows"]) == 2, "incidents are gathered", 120)
    deployed.play("uninstall").fine()
    for path in (
        "/opt/lae-monitor",
        "/etc/lae-monitor",
        LAE,
        "/etc/tmpfiles.d/lae-monitor.conf",
        f"{STATE}/credentials/alerts",
    ):
        assert monitor.exec(["test", "-e", path]).returncode == 1, path
    assert monitor.exec(["sh", "-c", "ls /etc/systemd/system/lae-monitor-*"]).stdout == ""
    kept = monitor.exec(["ls", f"{STATE}/archive/incidents/lae/incidents"]).stdout
    assert kept.split() == ["node1", "node2"]
    for name in ("node1", "node2"):
        host = deployed.lab.hosts[name]
        left = host.exec(["sh", "-c", "ls -d /etc/*/*/lae-crash* /etc/lae-crash* /usr/local/lib/lae-crash*"])
        assert left.stdout == ""
        for node in ("storageserver", "introducer"):
            assert "pb://" not in host.read(f"/home/customer/{node}/tahoe.cfg").decode()
            await_that(
                lambda host=host, node=node: host.exec(["systemctl", "is-active", f"tahoe-{node}"]).returncode == 0,
                f"{node} of {name} runs on",
            )
    assert deployed.play("uninstall").changed() == dict.fromkeys(HOSTS, 0)
    deployed.play().fine()
    assert len(deployed.ask("search", "before kind:incident")["rows"]) == 2, "what was gathered before is there again"


@pytest.fixture
def purged(deployed):
    """Purges the fleet; what is gone is looked at here."""

    def purge():
        deployed.play("uninstall", "-e", "lae_common_purge=true").fine()
        for path in (STATE, "/home/gatherer"):
            assert deployed.monitor.exec(["test", "-e", path]).returncode == 1, path
        assert deployed.monitor.exec(["id", "gatherer"]).returncode == 1
        assert deployed.lab.hosts["node1"].exec(["ls", "/var/lib/private"]).stdout == ""

    return purge


def test_a_new_monitor_host_that_is_handed_the_identity_is_the_same_to_every_node(deployed, purged):
    monitor, kept = deployed.monitor, f"{STATE}/credentials/incidents/gatherer.pem"
    pem = monitor.read(kept).decode()
    register = [LAE, "fleet", "register", "incident", "--host", "node1", "--print-furl"]
    before = monitor.exec(register, check=True).stdout
    purged()
    vault = deployed.folder.parent / "vault.json"
    vault.write_text(json.dumps({"incident_gatherer_identity": pem}))
    run = deployed.play("monitor", "--diff", "-vvv", "-e", f"@{vault}").fine()
    assert monitor.read(kept).decode() == pem
    after = monitor.exec(register, check=True).stdout
    assert after.partition("/")[0] == before.partition("/")[0]
    assert after.rpartition("/")[0] == before.rpartition("/")[0], "the same tub, at the same place"
    assert pem.splitlines()[3] not in run.said
    identity = "/etc/lae-monitor/credentials/incidents-gatherer.pem"
    assert monitor.exec(["stat", "-c", "%a %U", identity]).stdout == "600 root\n"
    assert deployed.play("monitor", "-e", f"@{vault}").changed() == {"monitor1": 0}
    vault.unlink()
    purged()
    deployed.play().fine()

"""`lae-monitor fleet register`: real edits through a real sshd, and nothing but the edit."""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sshd import ME, mode

from lae_monitor.fleet import tahoe_cfg

ROOT = Path(__file__).parents[2]
OPTION = "node", "log_gatherer.furl"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted.*")


def at(host, name="node1"):
    return f"{name}=127.0.0.1:{host.port}"


def register(fleet, *words, code=0):
    """Registers without waiting for a gatherer, which these tests have not; returns the answer."""
    return json.loads(fleet("register", "incident", *words, "--wait", 0, "--json", code=code).stdout)


def furl(fleet, name="node1"):
    return (fleet.folder / f"state/credentials/incidents/lae/{name}.furl").read_text().strip()


SHAPES = {
    "as Tahoe makes it": b"# This file\n[node]\nnickname = n1\n#log_gatherer.furl =\nweb.port = tcp:3456\n\n[client]\n",
    "comments and percent": b"; old\n[node]\nnickname = 100%%\n# log_gatherer.furl = pb://old\ntub.location = a # b\n",
    "CRLF": b"[node]\r\nnickname = n1\r\n#log_gatherer.furl =\r\n",
    "missing section": b"[client]\nshares.needed = 3\n",
    "another value": b"[node]\nlog_gatherer.furl = pb://aaaa@b:1/c\n[client]\nhelper.furl = pb://x@y/z\n",
    "no newline at its end": b"[node]\nnickname = n1",
    "byte order mark": b"\xef\xbb\xbf[node]\nnickname = \xc3\xa9\n",
}


@pytest.mark.parametrize("before", SHAPES.values(), ids=SHAPES)
def test_the_bytes_are_those_of_the_editor_and_nothing_else_changes(fleet, new_host, before):
    host = new_host(nodes=())
    path = host.node("storageserver", before, 0o604)
    other = host.node("introducer", before, 0o640)
    fleet.know(host)
    answer = register(fleet, at(host))
    assert path.read_bytes() == other.read_bytes() == tahoe_cfg.set_option(before, *OPTION, furl(fleet))
    assert (mode(path), mode(other), path.stat().st_uid) == (0o604, 0o640, os.getuid())
    assert [node["state"] for node in answer["hosts"][0]["nodes"]] == ["changed", "changed"]
    assert (host.restarts, host.leftovers()) == (1, [])


def test_a_second_run_writes_nothing_and_restarts_nothing(fleet, new_host):
    host = new_host()
    fleet.know(host)
    register(fleet, at(host))
    path = host.home / "storageserver/tahoe.cfg"
    before = path.stat()
    answer = register(fleet, at(host))
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert host.restarts == 1
    assert answer["hosts"][0]["result"] == "equal"
    assert answer["hosts"][0]["restart"] is None


def test_a_host_with_an_introducer_alone_is_fine_and_one_without_nodes_is_not(fleet, new_host):
    one, none = new_host(nodes=["introducer"]), new_host(nodes=())
    fleet.know(one, none)
    answer = register(fleet, at(one), at(none, "node2"), code=1)
    first, second = answer["hosts"]
    assert [(node["node"], node["state"]) for node in first["nodes"]] == [
        ("storageserver", "missing"),
        ("introducer", "changed"),
    ]
    assert "error" not in first
    assert (second["error"], none.restarts, one.restarts) == ("no_nodes", 0, 1)


def test_a_dry_run_changes_nothing_and_shows_no_secret(fleet, new_host):
    host = new_host()
    path = host.node("storageserver", "[node]\nlog_gatherer.furl = pb://oldsecret@h:1/swissold\nweb.port = 3456\n")
    before = path.read_bytes(), path.stat().st_mtime_ns
    fleet.know(host)
    done = fleet("register", "incident", at(host), "--dry-run")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert (host.restarts, (fleet.folder / "state").exists()) == (0, False)
    assert "-log_gatherer.furl = ***\n+log_gatherer.furl = *** (new)" in done.stdout
    assert "storageserver would change" in done.stdout
    assert "pb://" not in done.output and "swissold" not in done.output


def test_nothing_secret_is_in_a_command_a_line_of_output_or_an_error(fleet, new_host):
    host = new_host()
    host.restart_script('#!/bin/sh\ngrep furl "$HOME/storageserver/tahoe.cfg"\nexit 3\n')
    fleet.know(host)
    done = fleet("register", "incident", at(host), "--wait", 0, code=1)
    secret = furl(fleet).rpartition("/")[2]
    assert len(secret) == 32
    assert "ended with status 3" in done.stderr
    assert "log_gatherer.furl = pb://" in done.stderr and "***" in done.stderr
    assert secret not in done.output
    assert secret not in host.ran()
    assert secret in (host.home / "storageserver/tahoe.cfg").read_text()


def test_after_a_restart_that_failed_the_next_run_says_so_and_can_restart(fleet, new_host):
    host = new_host()
    host.restart_script('#!/bin/sh\necho restarted >> "$HOME/restarts"; test -e "$HOME/well"\n')
    fleet.know(host)
    answer = register(fleet, at(host), code=1)
    assert (answer["hosts"][0]["error"], answer["hosts"][0]["status"]) == ("restart_failed", 1)
    assert "--restart-always" in answer["next"]
    (host.home / "well").touch()
    register(fleet, at(host))
    assert host.restarts == 1
    assert register(fleet, at(host), "--restart-always")["hosts"][0]["status"] == 0
    assert host.restarts == 2


def test_what_a_restart_leaves_running_keeps_nobody_waiting(fleet, new_host):
    host = new_host()
    host.restart_script('#!/bin/sh\nsleep 250 &\necho $! > "$HOME/daemon"\necho restarted >> "$HOME/restarts"\n')
    fleet.know(host)
    register(fleet, at(host))
    daemon = int((host.home / "daemon").read_text())
    os.kill(daemon, 9)  # it runs still
    assert host.restarts == 1


def test_without_a_way_to_restart_nothing_is_changed(fleet, new_host):
    host = new_host()
    (host.home / "restart.sh").chmod(0o644)
    path = host.home / "storageserver/tahoe.cfg"
    before = path.read_bytes()
    fleet.know(host)
    answer = register(fleet, at(host), code=1)
    assert (answer["hosts"][0]["error"], path.read_bytes()) == ("no_restart", before)
    assert "--no-restart" in answer["next"]
    assert register(fleet, at(host), "--no-restart")["hosts"][0]["result"] == "changed"
    assert host.restarts == 0
    host.node()
    register(fleet, at(host), "--restart", "echo restarted >> restarts")
    assert host.restarts == 1


def test_a_link_stays_one_and_its_file_is_edited(fleet, new_host):
    host = new_host(nodes=["introducer"])
    real = host.node("elsewhere")
    (host.home / "storageserver").mkdir()
    link = host.home / "storageserver/tahoe.cfg"
    link.symlink_to(real)
    fleet.know(host)
    register(fleet, at(host))
    assert link.is_symlink()
    assert furl(fleet).encode() in real.read_bytes()


def test_a_read_only_file_is_replaced_and_stays_read_only(fleet, new_host):
    """As its owner may: the folder is his."""
    host = new_host(nodes=())
    path = host.node(mode=0o444)
    fleet.know(host)
    register(fleet, at(host))
    assert (mode(path), furl(fleet) in path.read_text()) == (0o444, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; see the mounts below")
def test_a_folder_that_may_not_be_written_is_said(fleet, new_host):
    host = new_host(nodes=())
    path = host.node()
    path.parent.chmod(0o555)
    fleet.know(host)
    answer = register(fleet, at(host), code=1)
    path.parent.chmod(0o755)
    assert answer["hosts"][0]["error"] == "not_permitted"


def fill(path):
    """Until the disk is full; tmpfs may say so once too early."""
    with path.open("wb", buffering=0) as file:
        for _ in range(3):
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")
@pytest.mark.parametrize("how", ["full", "read only"])
def test_a_disk_that_takes_nothing_leaves_the_file_whole_and_the_node_running(fleet, new_host, how):
    host = new_host(nodes=["introducer"])
    folder = host.home / "storageserver"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this container may not mount")
    try:
        path = host.node()
        before = path.read_bytes()
        if how == "full":
            fill(folder / "filler")
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        fleet.know(host)
        first = register(fleet, at(host), code=1)["hosts"][0]
        assert first["error"] == ("disk_full" if how == "full" else "not_written")
        assert [node["state"] for node in first["nodes"]] == ["failed", "changed"]
        assert (path.read_bytes(), host.leftovers()) == (before, [])
        assert host.restarts == 1  # for the introducer, whose disk is another
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_file_of_another_account_stays_his_with_its_access_list(fleet, new_host):
    host = new_host(nodes=())
    path = host.node(mode=0o640)
    os.chown(path, 1234, 4321)
    os.setxattr(path, "user.note", b"kept")
    fleet.know(host)
    register(fleet, at(host))
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode(path), os.getxattr(path, "user.note")) == (1234, 4321, 0o640, b"kept")


def test_a_path_that_cannot_be_looked_at_costs_only_its_node(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    (host.home / "introducer").write_text("a file")
    fleet.know(host)
    first = register(fleet, at(host), code=None)["hosts"][0]
    assert first["nodes"][0]["state"] == "changed"
    assert first["nodes"][1]["state"] in {"missing", "failed"}
    assert host.restarts == 1


@pytest.mark.parametrize("status", [1, 127])
def test_a_host_without_gnu_programs_keeps_mode_and_owner_too(fleet, new_host, status):
    host = new_host(nodes=())
    path = host.node(mode=0o604)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    for name in ("cp", "flock", "df"):
        host.program(name, f"exit {127 if name == 'flock' else status}")
    fleet.know(host)
    register(fleet, at(host))
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert (furl(fleet) in path.read_text(), host.restarts) == (True, 1)


def test_a_change_by_somebody_else_meanwhile_stays(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    path = host.home / "storageserver/tahoe.cfg"
    host.program("cp", f'echo "nickname = other" >> "{path}"')  # runs between reading and renaming
    fleet.know(host)
    first = register(fleet, at(host), code=1)["hosts"][0]
    assert (first["error"], "somebody else changed" in first["message"]) == ("busy", True)
    assert path.read_text().endswith("nickname = other\n") and "pb://" not in path.read_text()
    assert (host.restarts, host.leftovers()) == (0, [])


def test_without_restart_sh_the_unit_of_each_changed_node_is_restarted(fleet, new_host):
    host = new_host()
    (host.home / "restart.sh").unlink()
    host.program("systemctl", f'echo "$@" >> "{host.folder}/units"')
    host.program("sudo", f'echo "sudo $*" >> "{host.folder}/units"')
    fleet.know(host)
    answer = register(fleet, at(host))["hosts"][0]
    assert answer["restart"].endswith("systemctl restart -- tahoe@storageserver.service tahoe@introducer.service")
    assert (
        (host.folder / "units")
        .read_text()
        .splitlines()[-1]
        .endswith("restart -- tahoe@storageserver.service tahoe@introducer.service")
    )


def test_a_file_that_tahoe_cannot_read_is_left_and_said(fleet, new_host):
    host = new_host(nodes=["introducer"])
    path = host.node("storageserver", "[node]\nthis is no option\n")
    fleet.know(host)
    first = register(fleet, at(host), code=1)["hosts"][0]
    assert (first["error"], "line 2" in first["message"]) == ("bad_file", True)
    assert path.read_text() == "[node]\nthis is no option\n"
    assert furl(fleet) in (host.home / "introducer/tahoe.cfg").read_text()
    assert host.restarts == 1


def test_two_runs_at_once_restart_once(fleet, new_host):
    host = new_host()
    host.restart_script('#!/bin/sh\nsleep 1\necho restarted >> "$HOME/restarts"\n')
    fleet.know(host)
    register(fleet, at(host), "--dry-run")
    command = [
        sys.executable, "-m", "lae_monitor", "--config", str(fleet.config), "fleet", "register", "incident", at(host), "--wait", "0",
        "--identity", str(fleet.key), "--user", ME, "--known-hosts", str(fleet.known_hosts), "--json",
    ]  # fmt: skip

    def run(_):
        return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)["hosts"][0][
            "result"
        ]

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(run, range(3))) == ["changed", "equal", "equal"]
    assert host.restarts == 1


def test_runs_that_set_different_options_at_once_lose_none(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    fleet.know(host)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: subprocess.run(
                    [
                        sys.executable, "-m", "lae_monitor", "--config", str(fleet.config), "fleet", "set-option", "node",
                        f"option{n}", str(n), "--on", at(host), "--identity", str(fleet.key), "--user", ME,
                        "--known-hosts", str(fleet.known_hosts),
                    ],
                    cwd=ROOT, capture_output=True, check=True,
                ),
                range(4),
            )
        )  # fmt: skip
    data = (host.home / "storageserver/tahoe.cfg").read_bytes()
    assert [tahoe_cfg.get(data, "node", f"option{n}") for n in range(4)] == list("0123")


def test_unregister_leaves_an_empty_comment_restarts_once_and_revokes_when_asked(fleet, new_host):
    host = new_host()
    path = host.home / "storageserver/tahoe.cfg"
    before = path.read_bytes()
    fleet.know(host)
    register(fleet, at(host))
    fleet("unregister", "incident", at(host))
    assert path.read_bytes() == before
    assert host.restarts == 2
    assert furl(fleet)
    fleet("unregister", "incident", at(host))
    assert host.restarts == 2
    done = fleet("unregister", "incident", at(host), "--revoke")
    assert "FURL revoked: node1" in done.stderr
    assert not list((fleet.folder / "state/credentials").rglob("*.furl"))


def test_stats_are_set_in_storage_servers_alone(fleet, new_host):
    host = new_host()
    fleet.know(host)
    file = fleet.folder / "stats.furl"
    value = f"pb://{'a' * 32}@tcp:stats.example:3119/{'s' * 32}"
    file.write_text(value + "\n")
    fleet("register", "stats", at(host), code=2)
    done = fleet("register", "stats", at(host), "--furl-file", file)
    data = (host.home / "storageserver/tahoe.cfg").read_bytes()
    assert tahoe_cfg.get(data, "client", "stats_gatherer.furl") == value
    assert b"stats_gatherer" not in (host.home / "introducer/tahoe.cfg").read_bytes()
    assert "s" * 32 not in done.output
    fleet("unregister", "stats", at(host))
    assert tahoe_cfg.get((host.home / "storageserver/tahoe.cfg").read_bytes(), "client", "stats_gatherer.furl") is None
    assert host.restarts == 2


def test_an_own_furl_is_given_to_nobody_when_another_gatherer_is_named(fleet, new_host):
    host = new_host()
    fleet.know(host)
    value = f"pb://{'a' * 32}@tcp:other.example:3118/{'s' * 32}"
    fleet("register", "incident", at(host), "--furl", value)
    assert tahoe_cfg.get((host.home / "introducer/tahoe.cfg").read_bytes(), *OPTION) == value
    assert not (fleet.folder / "state").exists()
    assert "no FURL" in fleet("register", "incident", at(host), "--furl", "pb://nonsense", code=2).stderr


def test_any_option_of_any_file_is_set_and_taken_out(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    other = host.home / "other.cfg"
    other.write_text("[a]\nb = 1\n")
    fleet.know(host)
    done = fleet("set-option", "node", "web.port", "tcp:3456:interface=127.0.0.1", "--on", at(host), "--dry-run")
    assert "+web.port = tcp:3456:interface=127.0.0.1" in done.stdout
    value = fleet.folder / "value"
    value.write_text("50% of it\n")
    fleet("set-option", "a", "b", "--value-file", value, "--file", "other.cfg", "--no-restart", "--on", at(host))
    assert other.read_text() == "[a]\nb = 50%% of it\n"
    fleet("set-option", "a", "b", "--unset", "--file", str(other), "--no-restart", "--on", at(host))
    assert other.read_text() == "[a]\n#b =\n"
    assert host.restarts == 0
    for wrong in (["node", "web.port"], ["node", "a=b", "1"], ["DEFAULT", "a", "1"], ["node", "a", "1", "--unset"]):
        fleet("set-option", *wrong, "--on", at(host), code=2)

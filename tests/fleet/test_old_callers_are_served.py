"""`setremoteconfigoption` and `register_gatherer`, as programs call them that were written for LeastAuthority's."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from sshd import ME

from lae_monitor.fleet import setremoteconfigoption as module
from lae_monitor.fleet import tahoe_cfg
from lae_monitor.fleet.setremoteconfigoption import register_gatherer, setremoteconfigoption
from lae_monitor.fleet.trouble import Trouble

ROOT = Path(__file__).parents[2]
FURL = f"pb://{'a' * 32}@tcp:monitoring.example:3118/{'s' * 32}"


def test_an_option_is_set_once(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    fleet.know(host)
    where = {"host": f"127.0.0.1:{host.port}", "user": ME, "identity": fleet.key, "known_hosts": fleet.known_hosts}
    path = host.home / "storageserver/tahoe.cfg"
    assert setremoteconfigoption(str(path), "node", "log_gatherer.furl", FURL, **where)
    assert not setremoteconfigoption("storageserver", "node", "log_gatherer.furl", FURL, **where)
    assert tahoe_cfg.get(path.read_bytes(), "node", "log_gatherer.furl") == FURL
    assert "nickname = n1" in path.read_text()
    assert host.restarts == 1
    with pytest.raises(Trouble, match="nowhere"):
        setremoteconfigoption("~/nowhere", "node", "a", "b", **where)


def test_both_types_of_gatherers_are_registered_as_customer(fleet, new_host, monkeypatch):
    host = new_host()
    home = Path(fleet.folder.parent / "operator/.ssh")
    home.mkdir(mode=0o700)
    (home / "known_hosts").write_text(host.known)
    monkeypatch.setattr(module, "USER", ME)  # there is no customer here
    said, wrong = io.StringIO(), io.StringIO()
    register_gatherer(f"127.0.0.1:{host.port}", str(fleet.key), said, wrong, "incident", FURL)
    register_gatherer(f"127.0.0.1:{host.port}", str(fleet.key), said, wrong, "incident", FURL)
    register_gatherer(f"127.0.0.1:{host.port}", str(fleet.key), said, wrong, "stats", FURL)
    assert [line.partition(": ")[2] for line in said.getvalue().splitlines()] == [
        "registered, and restarted", "was registered already", "registered, and restarted",
    ]  # fmt: skip
    assert wrong.getvalue() == ""
    assert host.restarts == 2
    with pytest.raises(ValueError, match="incident or stats"):
        register_gatherer(f"127.0.0.1:{host.port}", str(fleet.key), said, wrong, "log", FURL)
    host.stop()
    with pytest.raises(Trouble):
        register_gatherer(f"127.0.0.1:{host.port}", str(fleet.key), said, wrong, "incident", FURL)
    assert "unreachable" not in said.getvalue()
    assert "refused" in wrong.getvalue()
    assert "s" * 32 not in said.getvalue() + wrong.getvalue()


def test_it_runs_by_hand(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    ssh = fleet.folder.parent / "operator/.ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "known_hosts").write_text(host.known)
    (ssh / "config").write_text(f"Host thehost\n  HostName 127.0.0.1\n  Port {host.port}\n  IdentityFile {fleet.key}\n")
    command = [
        sys.executable,
        "-m",
        "lae_monitor.fleet.setremoteconfigoption",
        f"{ME}@127.0.0.1:{host.port}",
        "~/storageserver",
        "node",
        "a.furl",
    ]
    (ssh / "id_ed25519").write_text(fleet.key.read_text())
    (ssh / "id_ed25519").chmod(0o600)
    done = subprocess.run(command, cwd=ROOT, input=FURL + "\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert tahoe_cfg.get((host.home / "storageserver/tahoe.cfg").read_bytes(), "node", "a.furl") == FURL
    assert subprocess.run(command[:-1], cwd=ROOT, capture_output=True, check=False).returncode == 2

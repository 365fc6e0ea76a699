"""Hosts with an sshd, and the command line that is used on them."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "kinds" / "incidents"))

from gatherer_process import gatherer_in
from sshd import ME, SFTP, SSHD, Host, keygen

from lae_monitor.cli.group import top


@pytest.fixture
def gatherer(tmp_path):
    with gatherer_in(tmp_path / "gatherer") as made:
        yield made


@pytest.fixture
def key(tmp_path):
    return keygen(tmp_path / "id_test")


@pytest.fixture
def new_host(tmp_path, key):
    """Makes hosts, started; all end with the test."""
    if not (SSHD and SFTP):
        pytest.skip("NOT TESTED: hosts over SSH. Needs sshd (Debian: openssh-server)")
    made = []

    def make(*, options="", nodes=("storageserver", "introducer")):
        host = Host(tmp_path / f"host{len(made)}", key, options=options)
        made.append(host)
        for node in nodes:
            host.node(node)
        return host.start()

    yield make
    for host in made:
        host.stop()


class Fleet:
    """`lae-monitor fleet ...` with a configuration, a key and known hosts of its own."""

    def __init__(self, folder, key):
        self.folder = folder
        self.config = folder / "lae-monitor.toml"
        self.config.write_text(
            f'[state]\npath = "{folder}/state"\n[gatherers.incidents]\nlocation = "tcp:monitor.example:3118"\n'
        )
        self.known_hosts = folder / "known_hosts"
        self.key = key

    def know(self, *hosts):
        with self.known_hosts.open("a") as file:
            file.writelines(host.known for host in hosts)

    def __call__(self, *words, key=None, known_hosts=None, code=0):
        """Runs a command on hosts; `code` None takes any."""
        arguments = [
            "--config", str(self.config), "fleet", *(str(word) for word in words), "--identity", str(key or self.key),
            "--user", ME, "--known-hosts", str(known_hosts or self.known_hosts),
        ]  # fmt: skip
        done = CliRunner().invoke(top, arguments)
        assert code in {None, done.exit_code}, (done.exit_code, done.output, done.exception)
        return done


@pytest.fixture
def fleet(tmp_path, key, monkeypatch):
    home = tmp_path / "operator"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "monitor"
    folder.mkdir()
    return Fleet(folder, key)

"""A mistake in [alerts] is a sentence that says where; `check config` also looks for the secrets; `send-test` tells what came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lae_monitor.config import ConfigError, load
from lae_monitor.kinds import KINDS

ROOT = Path(__file__).parents[2]


def written(tmp_path, text):
    path = tmp_path / "lae-monitor.toml"
    path.write_text(f'[state]\npath = "{tmp_path}/state"\n[alerts]\n{text}')
    return path


def run(config, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(config), *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


MAIL = '[[alerts.destinations]]\ntype = "mail"\nto = ["ops@example.org"]\n'
HOOK = '[[alerts.destinations]]\ntype = "webhook"\nurl = "https://hooks.example/a"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('expected = ["../x"]', "alerts.expected: '../x' is neither HOST nor CLUSTER/HOST"),
        ('expected = ["a/b/c"]', "alerts.expected: 'a/b/c' is neither"),
        ('silent_after = "0s"', "alerts.silent_after: "),
        ('group_level = "loud"', 'alerts.group_level: wants one of "debug"'),
        ('pages_url = "javascript:alert(1)"', "alerts.pages_url: "),
        (MAIL + MAIL, "two are called 'mail'; give each a name of its own"),
        (MAIL.replace("ops@example.org", "ops"), "alerts.destinations[0].to: 'ops' is no mail address"),
        (MAIL.replace('["ops@example.org"]', "[]"), "alerts.destinations[0].to: names nobody"),
        (MAIL.replace("ops@", "a\\nb@"), "alerts.destinations[0].to: "),
        (MAIL + 'sender = "Ops <x@y>"', "alerts.destinations[0].sender: "),
        (MAIL + 'server = "mail.example.org"', "alerts.destinations[0].server: 'mail.example.org' is not HOST:PORT"),
        (
            MAIL + 'server = "mail.example.org:25"\nuser = "me"',
            "alerts.destinations[0].security: the password would cross",
        ),
        (MAIL + 'rules = ["disk full"]', "alerts.destinations[0].rules"),
        (MAIL + 'name = "../x"', "alerts.destinations[0].name: "),
        (MAIL + 'url = "x"', "alerts.destinations[0].url: unknown key"),
        (HOOK.replace("https", "ftp"), "alerts.destinations[0].url: is no address"),
        ('[[alerts.destinations]]\ntype = "pager"\n', 'alerts.destinations[0].type: wants one of "mail", "webhook"'),
    ],
)
def test_mistakes(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), KINDS, {})
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


def test_defaults_and_a_host_in_a_cluster_are_fine(tmp_path):
    alerts = load(written(tmp_path, 'expected = ["node7", "hpc/ml6.hpc.uio.no"]\n' + MAIL + HOOK), KINDS, {}).alerts
    assert [destination.title for destination in alerts.destinations] == ["mail", "webhook"]
    assert alerts.silent_after == 7200


def test_check_config_says_which_secret_is_missing(tmp_path):
    config = written(tmp_path, MAIL + 'user = "me"\n[[alerts.destinations]]\ntype = "webhook"\n')
    done = run(config, "check", "config", "serve")
    assert done.returncode == 1
    assert "problem  alerts.destinations[0]: " in done.stdout
    assert "credentials/alerts/mail: there is no such file; write the secret into it, with mode 600" in done.stdout
    assert "credentials/alerts/webhook.url: there is no such file" in done.stdout
    assert "alerts.destinations" not in run(config, "check", "config", "sonar").stdout


def test_send_test_tells_what_came_of_each(tmp_path, hooks, mails):
    mails.refused["ops@example.org"] = "550 no such user"
    (tmp_path / "state").mkdir()
    config = written(
        tmp_path,
        f'{MAIL}server = "{mails.address}"\nsender = "mon@example.org"\n'
        f'[[alerts.destinations]]\ntype = "webhook"\nurl = "{hooks.url}"\nrules = ["new group"]\n',
    )
    done = run(config, "alert", "send-test")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "failed    mail mail: ops@example.org: 550 no such user",
        "delivered webhook webhook",
    ]
    assert "Next: " in done.stderr
    assert hooks.taken[0]["title"] == "[lae] this is a test: alarms reach you"
    assert run(config, "alert", "send-test", "webhook").returncode == 0
    assert run(config, "alert", "send-test", "nobody").returncode == 2
    said = json.loads(run(config, "--json", "alert", "send-test").stdout)
    assert [(one["name"], one["delivered"]) for one in said["destinations"]] == [("mail", False), ("webhook", True)]


def test_without_anything_nothing_is_made(tmp_path):
    config = written(tmp_path, "")
    for command, code in ((("alert", "list"), 0), (("alert", "test"), 0), (("alert", "send-test"), 2)):
        done = run(config, *command)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert "not checked yet" in run(config, "alert", "list").stderr
    assert [*tmp_path.iterdir()] == [config]


def test_a_damaged_ledger_is_told(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "alerts.db").write_bytes(b"no database at all" * 500)
    done = run(written(tmp_path, ""), "alert", "list")
    assert done.returncode == 75
    assert "alerts.db: file is not a database" in done.stderr

"""What the roles write is a configuration that lae-monitor takes, and says what their variables say."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from lae_monitor.config import load
from lae_monitor.kinds import KINDS

HOUSE = Path(__file__).parents[2]
PAGE = (HOUSE / "docs" / "deploy.md").read_text()
NEEDED = {"incident_gatherer": {"incident_gatherer_location_host": "monitoring.example.org"}, "monitor": {}}


@pytest.fixture
def written(tool, tmp_path):
    """Runs a role's preflight checks and its template with variables; returns the settings, or fails as it does."""

    def run(role, **variables):
        here = HOUSE / "roles" / role
        play = [{
            "name": "Write", "hosts": "localhost", "connection": "local", "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "vars_files": [str(here / "defaults/main.yml"), str(here / "vars/main.yml")],
            "tasks": [
                {"name": "Check", "ansible.builtin.assert": {"that": "item.holds", "fail_msg": "{{ item.otherwise }}"},
                 "loop": f"{{{{ __{role}_checks }}}}", "loop_control": {"label": "{{ item.about }}"}},
                {"name": "Write", "ansible.builtin.template": {
                    "src": str(here / "templates/section.toml.j2"), "dest": str(tmp_path / "config.toml"), "mode": "0600"}},
            ],
        }]  # fmt: skip
        (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
        for macros in (here / "templates").glob("toml.j2"):
            shutil.copy(macros, tmp_path)  # a role finds it beside its template
        given = json.dumps({**NEEDED[role], **variables, "lae_common_state": "/var/lib/lae-monitor"})
        tool("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"), "-e", given, cwd=tmp_path)
        return load(tmp_path / "config.toml", KINDS, {})

    return run


def test_incidents_as_they_are_by_default(written):
    found = written("incident_gatherer").gatherers["incidents"]
    assert (found.listen, found.location) == ("tcp:3118", "tcp:monitoring.example.org:3118")
    assert (found.http, found.unregistered, found.rules, found.classifiers) == ("127.0.0.1:9118", False, "tahoe", "")
    assert (found.max_host, found.log_level) == (1 << 30, "off")


def test_incidents_as_a_site_wants_them(written, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/classify_own.py").write_text("")
    furl = f"pb://{'a' * 32}@tcp:old.example:3118/{'b' * 32}"
    found = written(
        "incident_gatherer",
        incident_gatherer_listen_address="::1",
        incident_gatherer_location_port=4000,
        incident_gatherer_identity="BEGIN CERTIFICATE PRIVATE KEY",
        incident_gatherer_stock_furl=furl,
        incident_gatherer_http="",
        incident_gatherer_rules_toml="[[rule]]",
        incident_gatherer_classifiers=str(tmp_path / "own"),
        incident_gatherer_max_host="5 GiB",
        incident_gatherer_log_level="WEIRD",
        incident_gatherer_settings={"fetches": 5},
    ).gatherers["incidents"]
    assert (found.listen, found.location) == ("tcp:3118:interface=\\:\\:1", "tcp:monitoring.example.org:4000")
    assert (found.http, found.unregistered, found.fetches) == ("", True, 5), "its nodes have that FURL, so it is let in"
    assert (found.rules, found.classifiers) == ("incident-rules.toml", "classifiers"), "beside the configuration"
    assert (found.max_host, found.log_level) == (5 << 30, "WEIRD")
    assert furl not in (tmp_path / "config.toml").read_text()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"incident_gatherer_stock_furl": f"pb://{'a' * 32}@a:1/s"}, "its gatherer.pem as"),
        ({"incident_gatherer_classifiers": "/nowhere"}, "has no classify_*.py"),
        ({"incident_gatherer_settings": {"rules": "none"}}, "rules is set through a variable of its own"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_together_is_said(written, variables, said):
    with pytest.raises(AssertionError) as failed:
        written("incident_gatherer", **variables)
    assert said in " ".join(str(failed.value).split())


def test_alarms_as_the_page_says(written):
    block = re.search(r"^(monitor_alerts:.*?)^END", PAGE, re.MULTILINE | re.DOTALL)[1]
    alerts = written("monitor", **yaml.safe_load(block), vault_mail_password="p", vault_chat_hook="h").alerts
    mail, chat = alerts.destinations
    assert (mail.to, mail.server, mail.security, mail.user) == (
        ["ops@example.org"],
        "mail.example.org:587",
        "starttls",
        "lae-monitor",
    )
    assert (chat.title, chat.url, alerts.silent_after) == ("chat", "", 3 * 3600)


def test_no_alarms_where_nobody_is_named(written):
    assert written("monitor").alerts.destinations == []


def test_words_of_any_script_stay_what_they_are(written):
    text = '😀 "quoted" \\ é'
    mail = {"type": "mail", "to": ["ops@example.org"], "user": text}
    assert written("monitor", monitor_alerts={"destinations": [mail]}).alerts.destinations[0].user == text


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({"mial": "x"}, "mial: no destination in monitor_alerts has that name; they are chat, mail"),
        ({"mail.pem": "x"}, "mail.pem: no destination"),
        ({"mail": ""}, "one of them is empty"),
        ({"chat.url": "http://a\nhttp://b"}, "one of them is empty, or several lines"),
    ],
    ids=["unknown", "another ending", "empty", "two lines"],
)
def test_secrets_that_do_not_fit_are_said_and_not_shown(written, secrets, said):
    alerts = {"destinations": [{"type": "mail", "to": ["ops@example.org"]}, {"type": "webhook", "name": "chat"}]}
    with pytest.raises(AssertionError) as failed:
        written("monitor", monitor_alerts=alerts, monitor_alerts_secrets=secrets)
    assert said in " ".join(str(failed.value).split())


# ---- nodes that are not on every host --------------------------------------------------------------------------------


@pytest.fixture
def uninstalled(tool, tmp_path):
    """Has a host report no more, which has one of two nodes; returns what ansible said."""
    (tmp_path / "tahoe.cfg").write_text("[node]\nlog_gatherer.furl = pb://x\n")

    def run(**variables):
        role = {"name": str(HOUSE / "roles/tahoe_reporting"), "tasks_from": "uninstall"}
        restart = {"name": "Restarted", "ansible.builtin.debug": {"msg": "restarted"}, "listen": "none"}
        play = [{
            "name": "No more", "hosts": "localhost", "connection": "local", "gather_facts": False, "handlers": [restart],
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "tasks": [{"name": "No more", "ansible.builtin.include_role": role}],
        }]  # fmt: skip
        (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
        nodes = [{"config": str(tmp_path / name)} for name in ("tahoe.cfg", "missing/tahoe.cfg")]
        given = json.dumps({"tahoe_reporting_nodes": nodes, "tahoe_reporting_restart": "true", **variables})
        options = ("-i", "localhost,", str(tmp_path / "play.yml"), "-e", given)
        return tool("ansible-playbook", *options, cwd=tmp_path, ANSIBLE_LIBRARY=str(HOUSE / "plugins/modules"),
                    ANSIBLE_MODULE_UTILS=str(HOUSE / "plugins/module_utils"))  # fmt: skip

    return run


def test_a_node_that_is_missing_is_in_the_way(uninstalled):
    with pytest.raises(AssertionError, match=r"missing/tahoe\.cfg"):
        uninstalled()


def test_a_node_that_is_missing_is_left_out_where_that_is_asked_for(uninstalled, tmp_path):
    uninstalled(tahoe_reporting_skip_missing=True)
    assert (tmp_path / "tahoe.cfg").read_text() == "[node]\n#log_gatherer.furl =\n"

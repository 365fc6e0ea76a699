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


FURL = f"pb://{'a' * 32}@tcp:old.example:3118/{'b' * 32}"
WORDS = '😀 "quoted" \\ é'
ALERTS = re.search(r"^(monitor_alerts:.*?)^END", PAGE, re.MULTILINE | re.DOTALL)[1]
TWO = {"destinations": [{"type": "mail", "to": ["ops@example.org"]}, {"type": "webhook", "name": "chat"}]}
MAIL = {"type": "mail", "to": ["ops@example.org"], "user": WORDS}

# What a site gives, by name: the variables of a role, and a part of what is said where they do not fit.
GIVEN = {
    "incident_gatherer": {
        "default": ({}, ""),
        "own": ({
            "incident_gatherer_listen_address": "::1",
            "incident_gatherer_location_port": 4000,
            "incident_gatherer_identity": "BEGIN CERTIFICATE PRIVATE KEY",
            "incident_gatherer_stock_furl": FURL,
            "incident_gatherer_http": "",
            "incident_gatherer_rules_toml": "[[rule]]",
            "incident_gatherer_classifiers": "{{ playbook_dir }}/own",
            "incident_gatherer_max_host": "5 GiB",
            "incident_gatherer_log_level": "WEIRD",
            "incident_gatherer_settings": {"fetches": 5},
        }, ""),
        "furl": ({"incident_gatherer_stock_furl": f"pb://{'a' * 32}@a:1/s"}, "its gatherer.pem as"),
        "classifiers": ({"incident_gatherer_classifiers": "/nowhere"}, "has no classify_*.py"),
        "settings": ({"incident_gatherer_settings": {"rules": "none"}}, "rules is set through a variable of its own"),
    },
    "monitor": {
        "silent": ({}, ""),
        "page": ({**yaml.safe_load(ALERTS), "vault_mail_password": "p", "vault_chat_hook": "h"}, ""),
        "words": ({"monitor_alerts": {"destinations": [MAIL]}}, ""),
        "unknown": ({"monitor_alerts": TWO, "monitor_alerts_secrets": {"mial": "x"}},
                    "mial: no destination in monitor_alerts has that name; they are chat, mail"),
        "ending": ({"monitor_alerts": TWO, "monitor_alerts_secrets": {"mail.pem": "x"}}, "mail.pem: no destination"),
        "empty": ({"monitor_alerts": TWO, "monitor_alerts_secrets": {"mail": ""}}, "one of them is empty"),
        "lines": ({"monitor_alerts": TWO, "monitor_alerts_secrets": {"chat.url": "http://a\nhttp://b"}},
                  "one of them is empty, or several lines"),
    },
}  # fmt: skip
REFUSED = {name: said for cases in GIVEN.values() for name, (_, said) in cases.items() if said}


@pytest.fixture(scope="module")
def run(tool, tmp_path_factory):
    """Runs the preflight checks and the template of both roles, on a host for each of GIVEN: the folder, and what was said."""
    folder = tmp_path_factory.mktemp("roles")
    (folder / "own").mkdir()
    (folder / "own/classify_own.py").write_text("")
    plays, groups = [], {}
    for role, cases in GIVEN.items():
        here = HOUSE / "roles" / role
        for macros in (here / "templates").glob("toml.j2"):
            shutil.copy(macros, folder)  # a role finds it beside its template
        groups[role] = {
            "hosts": {name: variables for name, (variables, _) in cases.items()},
            "vars": {**yaml.safe_load((here / "defaults/main.yml").read_text()), **NEEDED[role],
                     "lae_common_state": "/var/lib/lae-monitor"},
        }  # fmt: skip
        plays.append({
            "name": "Write", "hosts": role, "connection": "local", "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "vars_files": [str(here / "vars/main.yml")],
            "tasks": [
                {"name": "Check", "ansible.builtin.assert": {"that": "item.holds", "fail_msg": "{{ item.otherwise }}"},
                 "loop": f"{{{{ __{role}_checks }}}}", "loop_control": {"label": "{{ item.about }}"}},
                {"name": "Write", "ansible.builtin.template": {
                    "src": str(here / "templates/section.toml.j2"), "dest": f"{folder}/{{{{ inventory_hostname }}}}.toml",
                    "mode": "0600"}},
            ],
        })  # fmt: skip
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    return folder, tool("ansible-playbook", "-i", "hosts.yml", "play.yml", cwd=folder, code=2)


@pytest.fixture
def written(run):
    """The settings that were written for a host."""
    folder, _ = run
    return lambda name: load(folder / f"{name}.toml", KINDS, {})


def test_incidents_as_they_are_by_default(written):
    found = written("default").gatherers["incidents"]
    assert (found.listen, found.location) == ("tcp:3118", "tcp:monitoring.example.org:3118")
    assert (found.http, found.unregistered, found.rules, found.classifiers) == ("127.0.0.1:9118", False, "tahoe", "")
    assert (found.max_host, found.log_level) == (1 << 30, "off")


def test_incidents_as_a_site_wants_them(written, run):
    found = written("own").gatherers["incidents"]
    assert (found.listen, found.location) == ("tcp:3118:interface=\\:\\:1", "tcp:monitoring.example.org:4000")
    assert (found.http, found.unregistered, found.fetches) == ("", True, 5), "its nodes have that FURL, so it is let in"
    assert (found.rules, found.classifiers) == ("incident-rules.toml", "classifiers"), "beside the configuration"
    assert (found.max_host, found.log_level) == (5 << 30, "WEIRD")
    assert FURL not in (run[0] / "own.toml").read_text()


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_together_is_said_and_nothing_written(run, name):
    folder, said = run
    failure = re.search(rf"^failed: \[{name}\].*?(?=^\S|\Z)", said, re.MULTILINE | re.DOTALL)[0]
    assert REFUSED[name] in " ".join(failure.split())
    assert not (folder / f"{name}.toml").exists()


def test_alarms_as_the_page_says(written):
    alerts = written("page").alerts
    mail, chat = alerts.destinations
    assert (mail.to, mail.server, mail.security, mail.user) == (
        ["ops@example.org"],
        "mail.example.org:587",
        "starttls",
        "lae-monitor",
    )
    assert (chat.title, chat.url, alerts.silent_after) == ("chat", "", 3 * 3600)


def test_no_alarms_where_nobody_is_named(written):
    assert written("silent").alerts.destinations == []


def test_words_of_any_script_stay_what_they_are(written):
    assert written("words").alerts.destinations[0].user == WORDS


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

"""The Ansible module: run by the real Ansible, from a checkout and from a collection; it changes one option and tells no secret."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FURL = "pb://abcdefghijklmnopqrstuvwxyz234567@tcp:monitor.example:3118/topsecretswissnum"
OLD = (
    "# by hand\n[node]\nnickname = n1\n#log_gatherer.furl =\n[client]\nhelper.furl = pb://other@h:1/helpersecret\n"
    "[connections]\nproxy = http://user:proxysecret@h/\n"
)
NEW = OLD.replace("#log_gatherer.furl =", f"log_gatherer.furl = {FURL}")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "node" / "tahoe.cfg"
    path.parent.mkdir()
    path.write_text(OLD)
    path.chmod(0o640)
    return path


@pytest.fixture
def ansible(tmp_path, path):
    """Runs the module once, or once for each of `steps`, in one play; with the settings of a checkout if there are no others.

    Returns what ended, and all that was printed. A step may fail: the next one is taken.
    """
    (tmp_path / "ansible.cfg").write_text("")
    checkout = {
        "ANSIBLE_LIBRARY": str(ROOT / "plugins/modules"),
        "ANSIBLE_MODULE_UTILS": str(ROOT / "plugins/module_utils"),
    }

    def run(*options, module="tahoe_option", settings=checkout, steps=None, **changed):
        tasks, given = [], {}
        for number, step in enumerate(steps or [{}]):
            arguments = {
                "path": str(path),
                "section": "node",
                "option": "log_gatherer.furl",
                "value": FURL,
                **changed,
                **step,
            }
            given[f"step{number}"] = {name: value for name, value in arguments.items() if value is not None}
            tasks.append({"name": f"Edit {number}", module: f"{{{{ step{number} }}}}", "ignore_errors": bool(steps)})
        (tmp_path / "arguments.json").write_text(json.dumps(given))
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        (tmp_path / "play.yml").write_text(json.dumps(play))  # JSON is YAML
        # The values come from a file: on a command line all would see them.
        command = [
            BIN / "ansible-playbook",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            "@arguments.json",
            "play.yml",
            *options,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | {
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_REMOTE_TMP": str(tmp_path / "home" / "remote"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_INJECT_FACT_VARS": "false",
            **settings,
        }
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done, done.stdout + done.stderr

    return run


def recap(output, what):
    """How often Ansible counted something, such as `changed`."""
    return int(output.rsplit(f" {what}=", 1)[1].split()[0])


def test_an_option_is_set_once_and_told_to_nobody(ansible, path):
    done, output = ansible("-vvv", "--diff")
    assert done.returncode == 0, output
    assert path.read_text() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert recap(output, "changed") == 1
    assert "secret" not in output
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert "-#log_gatherer.furl =\n+log_gatherer.furl = *** (new)\n" in output
    assert "helper.furl = ***" in output
    before = path.stat()
    done, output = ansible("-vvv", "--diff")
    assert (done.returncode, recap(output, "changed"), recap(output, "ok")) == (0, 0, 1)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "secret" not in output
    assert "(new)" not in output


def test_check_mode_says_and_shows_what_would_change_and_changes_nothing(ansible, path):
    path.write_text(NEW)
    before = path.stat()
    other = FURL.replace("topsecret", "othersecret")
    done, output = ansible("--check", "--diff", "-vvv", value=other)
    assert (done.returncode, recap(output, "changed")) == (0, 1)
    assert "-log_gatherer.furl = ***\n+log_gatherer.furl = *** (new)\n" in output
    assert "secret" not in output
    assert path.read_text() == NEW
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    done, output = ansible("--check")
    assert (done.returncode, recap(output, "changed")) == (0, 0)


def test_absent_takes_the_value_away_and_present_brings_it_back(ansible, path):
    path.write_text(NEW)
    done, output = ansible("--diff", "-vvv", state="absent", value=None)
    assert (done.returncode, recap(output, "changed")) == (0, 1)
    assert "-log_gatherer.furl = ***\n+#log_gatherer.furl =\n" in output
    assert "secret" not in output
    assert path.read_text() == OLD
    done, output = ansible(steps=[{"state": "absent", "value": None}, {}])
    assert (done.returncode, recap(output, "changed"), recap(output, "ok")) == (0, 1, 2)
    assert path.read_text() == NEW


REFUSALS = [
    ({"path": "/no/such/tahoe.cfg"}, "/no/such/tahoe.cfg: no such file or directory; name the tahoe.cfg of a node"),
    ({"path": "/dev/null"}, "/dev/null: it is no regular file; name"),
    ({"value": "pb://topsecret\nx"}, "tahoe.cfg: the value of log_gatherer.furl holds a line break"),
    ({"section": "DEFAULT"}, "[DEFAULT] holds for every section; name the one that is meant"),
    ({"option": "a = b"}, "such an option cannot stand in tahoe.cfg; give"),
    ({"value": None}, "state is present but all of the following are missing: value"),
    ({"state": "perhaps"}, "value of state must be one of: present, absent"),
]


def test_a_refusal_is_a_sentence_without_the_secret(ansible, path):
    _, output = ansible("-vvv", steps=[changed for changed, _ in REFUSALS])
    assert (recap(output, "ignored"), recap(output, "changed")) == (len(REFUSALS), 0)
    _, *said = output.split("\nTASK [Edit ")
    for one, (_, words) in zip(said, REFUSALS, strict=True):
        assert words in one.replace('\\"', '"')
    assert "Traceback" not in output
    assert "secret" not in output
    assert path.read_text() == OLD
    done, output = ansible(path="/dev/null")
    assert (done.returncode, recap(output, "failed")) == (2, 1)


def test_a_file_that_tahoe_cannot_read_is_refused_without_what_is_in_it(ansible, path):
    path.write_text("[node]\nhelpersecret\n")
    done, output = ansible("-vvv", "--diff")
    assert done.returncode == 2
    assert "tahoe.cfg: Tahoe cannot read line 2, no comment" in output
    assert "secret" not in output
    assert path.read_text() == "[node]\nhelpersecret\n"


def test_a_percent_sign_is_what_it_is(ansible, path):
    steps = [{"value": "50% of {{ 'n' }}1"}, {"value": "50% of n1"}]
    _, output = ansible(option="nickname", steps=steps)
    assert (recap(output, "changed"), recap(output, "ok")) == (1, 2), output
    assert path.read_text() == OLD.replace("nickname = n1", "nickname = 50%% of n1")


def test_numbers_and_nothing_are_written_as_text(ansible, path):
    path.write_text("[client]\nshares.needed = 3\nshares.happy = 3\n")
    steps = [{"option": "shares.needed", "value": 4}, {"option": "shares.happy", "value": ""}]
    _, output = ansible(section="client", steps=[*steps, *steps])
    assert (recap(output, "changed"), recap(output, "ok")) == (2, 4), output
    assert path.read_text() == "[client]\nshares.needed = 4\nshares.happy =\n"


def test_it_works_as_part_of_a_collection(ansible, path, tmp_path):
    """With a copy of the file in the link's place, as ansible-galaxy builds it; and without a checkout's settings."""
    here = tmp_path / "collections/ansible_collections/lae/monitor"
    shutil.copytree(ROOT / "plugins", here / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
    done, output = ansible("-vvv", "--diff", module="lae.monitor.tahoe_option", settings=settings)
    assert done.returncode == 0, output
    assert path.read_text() == NEW
    assert "secret" not in output
    command = [BIN / "ansible-doc", "-t", "module", "-j", "lae.monitor.tahoe_option"]
    environment = os.environ | settings | {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    documented = json.loads(said.stdout)["lae.monitor.tahoe_option"]
    assert set(documented["doc"]["options"]) == {"path", "section", "option", "value", "state"}
    assert documented["examples"]
    assert set(documented["return"]) == {"path", "section", "option"}


def test_checkout_and_collection_give_the_bytes_of_the_editor(ansible, path):
    """What is set by hand, with `fleet set-option`, and by Ansible is one thing."""
    from lae_monitor.fleet.tahoe_cfg import set_option

    data = b"\xef\xbb\xbf[node]\r\n\tnickname : \xd1\x83\r\n\t;Log_Gatherer.Furl:\r\n\r\n[client]"
    path.write_bytes(data)
    done, output = ansible()
    assert done.returncode == 0, output
    assert path.read_bytes() == set_option(data, "node", "log_gatherer.furl", FURL) != data

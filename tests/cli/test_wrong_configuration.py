"""A configuration that is wrong ends every command alike: exit code 78, a sentence for each mistake; JSON when JSON was asked for."""

import json
import os
import subprocess
import sys

import pytest

WRONG = "[web]\nlisen = 'x'\n[store]\nreaders = 99\n"


@pytest.fixture
def answer(tmp_path):
    config = tmp_path / "wrong.toml"
    config.write_text(WRONG)

    def run(*arguments):
        command = [sys.executable, "-m", "lae_monitor", *arguments, "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_each_mistake_has_a_line(answer):
    done = answer("host", "list")
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    assert sum("lisen" in line for line in lines) == sum("readers" in line for line in lines) == 1
    assert lines[-1].startswith("Next: ")


@pytest.mark.parametrize("where", ["before", "after"])
def test_who_asks_for_json_gets_it(answer, where):
    done = answer("--json", "host", "list") if where == "before" else answer("host", "list", "--json")
    assert done.returncode == 78
    said = json.loads(done.stdout)
    assert "lisen" in said["error"]
    assert "readers" in said["error"]
    assert said["next"]


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_option_is_stronger_than_the_variable(tmp_path, where):
    named, variable = tmp_path / "named.toml", tmp_path / "variable.toml"
    named.write_text(WRONG)
    variable.write_text("")
    option = ["--config", str(named)]
    arguments = [*option, "host", "list"] if where == "before" else ["host", "list", *option]
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", *arguments],
        env={**os.environ, "LAE_MONITOR_CONFIG": str(variable)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 78
    assert str(named) in done.stderr

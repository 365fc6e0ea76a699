"""Root looks at a monitor of another account: what is made in the state folder belongs to that account all the same."""

import os
import subprocess
import sys

import pytest

NOBODY = 65534


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root only: it acts as the owner of the state folder")
def test_nothing_that_root_makes_by_looking_belongs_to_root(tmp_path):
    try:
        subprocess.run([sys.executable, "-c", "import http.cookiejar"], user=NOBODY, check=True, capture_output=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the other account cannot read this Python, so no service could run under it")
    state = tmp_path / "state"
    (state / "archive").mkdir(parents=True)
    (state / "store").mkdir()
    for path in (state, state / "archive", state / "store"):
        os.chown(path, NOBODY, NOBODY)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    config = tmp_path / "lae-monitor.toml"
    config.write_text(f'[state]\npath = "{state}"\n')
    for command in (["archive", "status"], ["store", "status"], ["search", "anything"], ["host", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", "lae_monitor", "--config", str(config), *command],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in {0, 1}, (command, done.stderr)
    made = list(state.rglob("*"))
    assert len(made) > 5
    assert [path for path in made if path.lstat().st_uid != NOBODY] == []

"""`archive adopt` makes a root ours; `archive status` and `check config` say before that it is not, and change nothing."""

import asyncio
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from lae_monitor.archive.archive import archive_of
from lae_monitor.archive.identity import FILE
from lae_monitor.archive.installation import installation
from lae_monitor.cli.group import top
from lae_monitor.config import load
from lae_monitor.kinds import KINDS


@pytest.fixture
def tmp_path():
    """One that other accounts can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def home(tmp_path):
    """A root of an installation that ran."""
    (tmp_path / "state").mkdir(mode=0o700)
    home = tmp_path / "home"
    (tmp_path / "lae.toml").write_text(
        f'[state]\npath = "{tmp_path / "state"}"\n[archive]\nroots = ["{home}"]\nreserve = "1 MiB"\n'
        '[gatherers.sonar]\nauth_file = ""\n'
    )

    async def start():
        archive = await archive_of(load(tmp_path / "lae.toml", KINDS), "p").open()
        await archive.store("crashes/20261122/x.zip", [b"x"])
        await archive.close()

    asyncio.run(start())
    return home


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: str, code: int | None = 0):
        done = CliRunner().invoke(top, ["--config", str(tmp_path / "lae.toml"), *words])
        assert code in {None, done.exit_code}, (done.output, done.exception)
        return done

    return run


def test_a_root_that_is_not_ours_is_named_until_it_is_adopted(tmp_path, home, cli):
    assert "ok" in cli("archive", "status").stdout
    home.rename(tmp_path / "disk")
    home.mkdir()
    for words in (("archive", "status"), ("check", "config")):
        assert f"lae-monitor archive adopt {home}" in cli(*words, code=1).stdout
    assert list(home.iterdir()) == []
    said = cli("archive", "adopt", str(home)).stdout
    assert f"rm {home / FILE}" in said, "it is empty: perhaps the disk should have been mounted first"
    assert said.endswith("Next: lae-monitor archive status\n")
    assert "ok" in cli("archive", "status").stdout
    shutil.rmtree(home)
    (tmp_path / "disk").rename(home)
    said = json.loads(cli("--json", "archive", "adopt", str(home)).stdout)
    assert (said["empty"], len(said["was"]), said["next"]) == (False, 32, "lae-monitor archive status")


def test_a_missing_root_is_made_and_one_that_nobody_configured_has_to_exist(tmp_path, home, cli):
    shutil.rmtree(home)
    assert "does not exist" in cli("check", "config", code=1).stdout
    assert not home.exists()
    cli("archive", "adopt", str(home))
    assert "ok" in cli("archive", "status").stdout
    assert "none of archive.roots" in cli("archive", "adopt", str(tmp_path / "typo"), code=2).stderr
    assert not (tmp_path / "typo").exists()
    (tmp_path / "new").mkdir()
    assert "add " in cli("archive", "adopt", str(tmp_path / "new")).stdout
    assert "a state folder" in cli("archive", "adopt", str(tmp_path / "state"), code=69).stderr


def test_check_config_names_a_store_whose_disk_is_away(tmp_path, home, cli):
    with (tmp_path / "lae.toml").open("a") as config:
        config.write(f'[store]\nurl = "chdb://{tmp_path}/srv/store"\n')
    settings = load(tmp_path / "lae.toml", KINDS)
    installation(settings).check_store(settings.store_path)
    assert "store.url" not in cli("check", "config", code=None).stdout  # the host's ports may be taken
    shutil.rmtree(tmp_path / "srv")
    assert "lae-monitor store rebuild" in cli("check", "config", code=1).stdout
    assert not (tmp_path / "srv").exists()
    settings.store_path.mkdir(parents=True)
    assert "Mount its disk" in cli("search", "x", code=69).stderr
    assert list(settings.store_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: adopting as root. It needs root")
def test_root_adopts_as_the_account_of_the_services(tmp_path, home, cli):
    for folder in (tmp_path, tmp_path / "state", home, *(tmp_path / "state").iterdir()):
        os.chown(folder, 65534, 65534)
    (home / FILE).unlink()
    cli("archive", "adopt", str(home))
    assert {path.stat().st_uid for path in (home / FILE, tmp_path / "state" / FILE)} == {65534}

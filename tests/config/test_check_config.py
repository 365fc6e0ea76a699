"""`lae-monitor check config` finds what would stop the monitor, says what to do, and leaves nothing behind."""

import fcntl
import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from lae_monitor.cli.group import top
from lae_monitor.config import Settings
from lae_monitor.config.meaning import Address
from lae_monitor.config.settings import Archive, Share, State
from lae_monitor.service import surroundings
from lae_monitor.service.surroundings import (
    check_address,
    check_clock,
    check_credentials,
    check_root,
    check_state,
    look,
)

FINE = """
state.path = "state"
web.listen = "127.0.0.1:0"
archive.reserve = "1 B"
[gatherers.crashes]
listen = "127.0.0.1:0"
[gatherers.sonar]
listen = "127.0.0.1:0"
[gatherers.incidents]
listen = "tcp:0:interface=127.0.0.1"
"""


@pytest.fixture(autouse=True)
def _short_trial(monkeypatch):
    monkeypatch.setattr(surroundings, "TRIAL", 0.01)
    monkeypatch.setattr(surroundings, "SLOW_DISK", 0.0)


@pytest.fixture
def check(tmp_path):
    def run(text, *options):
        file = tmp_path / "a.toml"
        file.write_text(text)
        return CliRunner(env={"NO_COLOR": "1"}).invoke(top, ["check", "config", "--config", str(file), *options])

    return run


@pytest.fixture
def fine(tmp_path):
    """A configuration without a problem, with its folder of credentials."""
    folder = tmp_path / "state" / "credentials" / "sonar"
    for made in (folder.parent.parent, folder.parent, folder):
        made.mkdir(mode=0o700)
    (folder / "exfil-auth.txt").write_text("lae:password\n")
    (folder / "exfil-auth.txt").chmod(0o600)
    return FINE


def levels(result):
    return {line.split()[1].rstrip(":"): line.split()[0] for line in result.stdout.splitlines() if line[:5] != "Next:"}


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


# ---- the command ---------------------------------------------------------------------------------------------------


def test_a_fine_configuration_is_one_line_a_check_and_says_what_to_do_next(check, fine, tmp_path):
    before = everything_below(tmp_path / "state")
    result = check(fine)
    assert (result.exit_code, set(levels(result).values())) == (0, {"ok"}), result.output
    assert {"configuration", "clock", "state.path", "archive.roots", "credentials", "web.listen"} <= set(levels(result))
    assert {f"gatherers.{kind}.listen" for kind in ("crashes", "incidents", "sonar")} <= set(levels(result))
    assert "fsyncs a second" in result.stdout
    assert result.stdout.splitlines()[-1] == "Next: lae-monitor run"
    assert everything_below(tmp_path / "state") == before


def test_json_has_the_same_checks(check, fine):
    answer = json.loads(check(fine, "--json").stdout)
    assert (answer["ok"], answer["next"]) == (True, "lae-monitor run")
    assert {"level", "about", "text"} == set(answer["checks"][0])
    assert {one["level"] for one in answer["checks"]} == {"ok"}


def test_a_mistake_in_the_file_exits_78_and_the_host_is_not_looked_at(check, tmp_path):
    result = check(f"{FINE}\nlisten_ = 5\n[fleet]\nname = 5")
    assert result.exit_code == 78
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["problem", "problem", "Next:"]
    assert f"{tmp_path}/a.toml: gatherers.incidents.listen_: unknown key" in result.stdout
    assert not (tmp_path / "state").exists()


def test_what_a_gatherer_asks_for_exits_78_with_its_key(check, tmp_path):
    result = check(FINE, "--no-environment")
    assert result.exit_code == 78
    assert levels(result)["gatherers.sonar.auth_file"] == "problem"
    assert "clock" not in levels(result)


def test_no_environment_looks_at_nothing_of_this_host(check, fine, tmp_path):
    (tmp_path / "state").chmod(0o755)
    result = check(fine, "--no-environment")
    assert (result.exit_code, set(levels(result))) == (
        0,
        {"configuration", "gatherers.crashes", "gatherers.incidents", "gatherers.sonar"},
    )


def test_a_problem_of_this_host_exits_1(check, fine, tmp_path):
    (tmp_path / "state").chmod(0o755)
    result = check(fine)
    assert result.exit_code == 1
    assert levels(result)["state.path"] == "problem"
    assert f"chmod 700 {tmp_path}/state" in result.stdout


# ---- folders -------------------------------------------------------------------------------------------------------


def with_root(tmp_path, root, reserve="1 B"):
    return Settings(state=State(path=tmp_path), archive=Archive(roots=[root], reserve=Share(reserve))), root


def test_a_root_that_does_not_exist_is_tried_and_not_left_behind(tmp_path):
    found = check_root(*with_root(tmp_path, tmp_path / "a" / "b" / "c"))
    assert (found.level, found.text.endswith("will be made at the first start")) == ("ok", True)
    assert everything_below(tmp_path) == []


def test_a_root_keeps_what_is_in_it(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("x")
    assert check_root(*with_root(tmp_path, tmp_path / "root")).level == "ok"
    assert everything_below(tmp_path) == ["root", "root/file"]


@pytest.mark.parametrize("place", ["file", "file/below", "loop"])
def test_a_root_that_cannot_be_a_folder_is_a_problem(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    found = check_root(*with_root(tmp_path, tmp_path / place))
    assert (found.level, "cannot be written" in found.text) == ("problem", True)


def test_a_root_without_room_above_the_reserve_is_a_problem(tmp_path):
    found = check_root(*with_root(tmp_path, tmp_path / "root", "8000 TiB"))
    assert found.level == "problem"
    assert "less than archive.reserve (8000 TiB) wants" in found.text
    assert everything_below(tmp_path) == []


def test_a_slow_disk_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "SLOW_DISK", float("inf"))
    found = check_root(*with_root(tmp_path, tmp_path / "root"))
    assert (found.level, "a slow disk" in found.text) == ("warning", True)


def test_a_state_folder_is_ours_and_closed_to_others(tmp_path):
    folder = tmp_path / "state"
    assert [one.level for one in check_state(folder)] == ["ok"]  # it can be made
    for mode, level in ((0o700, "ok"), (0o750, "ok"), (0o755, "problem"), (0o701, "problem")):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        assert [one.level for one in check_state(folder)] == [level], oct(mode)
    (tmp_path / "file").write_text("")
    assert [one.level for one in check_state(tmp_path / "file")] == ["problem"]
    assert [one.level for one in check_state(tmp_path / "file" / "below")] == ["problem"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another account: needs root")
def test_a_state_folder_of_somebody_else(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    (found,) = check_state(folder)
    assert (found.level, "run it as their account" in found.text) == ("warning", True)
    tmp_path.chmod(0o755)
    os.chown(folder, 0, 0)
    os.seteuid(65534)
    try:
        assert [one.level for one in check_state(folder)] == ["problem"]
        (found,) = check_state(Path("/proc/no-such-folder"))
        assert (found.level, "cannot make it" in found.text) == ("problem", True)
    finally:
        os.seteuid(0)


# ---- credentials ---------------------------------------------------------------------------------------------------


def test_credentials_are_closed_to_others(tmp_path):
    folder = tmp_path / "credentials"
    assert [one.level for one in check_credentials(folder)] == ["ok"]  # none yet
    (folder / "sonar").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "sonar").chmod(0o700)
    secret = folder / "sonar" / "x"
    secret.write_text("")
    for mode, level in ((0o600, "ok"), (0o400, "ok"), (0o640, "problem"), (0o604, "problem")):
        secret.chmod(mode)
        (found,) = check_credentials(folder)
        assert found.level == level, oct(mode)
    assert f"chmod 600 {secret}" in found.text
    secret.chmod(0o600)
    (folder / "sonar").chmod(0o755)
    (found,) = check_credentials(folder)
    assert f"chmod 700 {folder}/sonar" in found.text


@pytest.mark.skipif(os.geteuid() != 0, reason="looks as another account: needs root")
@pytest.mark.parametrize("closed", [".", "sonar", "sonar/x"])
def test_a_credential_that_cannot_be_read_is_a_problem(tmp_path, closed):
    folder = tmp_path / "credentials"
    (folder / "sonar").mkdir(parents=True)
    (folder / "sonar" / "x").write_text("")
    for path in (folder, folder / "sonar", folder / "sonar" / "x"):
        os.chown(path, 65534, 65534)
        path.chmod(0o600 if path.is_file() else 0o700)
    os.chown(folder / closed, 0, 0)
    for above in (tmp_path, *tmp_path.parents):
        if above.owner() == "root" and "pytest" in str(above):
            above.chmod(0o755)
    os.seteuid(65534)
    try:
        found = list(check_credentials(folder))
    finally:
        os.seteuid(0)
    assert {one.level for one in found} == {"problem"}
    assert any(str((folder / closed).resolve()) in one.text for one in found), found


def test_a_file_of_web_tokens_that_is_none_is_a_problem(tmp_path):
    folder = tmp_path / "credentials" / "web"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "credentials").chmod(0o700)
    file = folder / "tokens.txt"
    file.touch(mode=0o600)
    settings = Settings(state=State(path=tmp_path))
    for text, wanted in (
        ("", []),
        ("viewer:x", []),
        ("viewer", ["line 1 is not of the form"]),
        ("viwer:x", ["'viwer' is no role"]),
    ):
        file.write_text(text)
        found = [one.text for one in look(settings, ["none"]) if one.level == "problem" and one.about == "credentials"]
        assert [part in one for part, one in zip(wanted, found, strict=True)] == [True] * len(wanted), text


# ---- clock, addresses ----------------------------------------------------------------------------------------------


def test_the_clock_has_been_set_and_does_not_go_back(tmp_path):
    (tmp_path / "mover.db").write_text("")
    os.utime(tmp_path / "mover.db", (1_800_000_000, 1_800_000_000))
    os.utime(tmp_path, (1_800_000_000, 1_800_000_000))
    for now, level in ((1_800_000_001, "ok"), (1_799_999_990, "ok"), (1_799_000_000, "problem"), (5.0, "problem")):
        assert [one.level for one in check_clock(tmp_path, now)] == [level], now
    assert [one.level for one in check_clock(tmp_path / "none", 1_800_000_000)] == ["ok"]


@pytest.fixture
def taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_busy_port_is_a_problem_unless_our_own_process_has_it(tmp_path, taken):
    address = Address("web.listen", "serve", "127.0.0.1", taken)
    found = check_address(address, tmp_path)
    assert (found.level, f"sport = :{taken}" in found.text) == ("problem", True)
    lock = tmp_path / "serve.lock"
    lock.write_text("")
    assert check_address(address, tmp_path).level == "problem"  # left by one that ended
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = check_address(address, tmp_path)
        assert (found.level, "our own serve" in found.text) == ("ok", True)
        assert check_address(address._replace(process="gather-sonar"), tmp_path).level == "problem"


def test_a_free_port_is_free_afterwards(tmp_path, taken):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    assert check_address(Address("web.listen", "serve", "127.0.0.1", port), tmp_path).level == "ok"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "no such address"), ("no-such-host.invalid", "this name has no address")]
)
def test_an_address_that_is_not_of_this_host_is_a_problem(tmp_path, host, said):
    found = check_address(Address("web.listen", "serve", host, 49999), tmp_path)
    assert (found.level, said in found.text) == ("problem", True), found


def test_what_has_no_unit_is_a_problem_or_a_warning(check):
    """With exit code 78: an upgrade tries the configuration with the new release before it switches."""
    refused = check("retention.crashes = 90", "--no-environment")
    assert refused.exit_code == 78
    assert 'retention.crashes: 90 has no unit: write "90d" for days, or "90s" for seconds' in refused.stdout
    warned = check("gatherers.crashes.head_timeout = 10", "crashes", "--no-environment")
    assert warned.exit_code == 0
    assert 'warning  gatherers.crashes.head_timeout: 10 has no unit, and is read as "10s"' in warned.stdout

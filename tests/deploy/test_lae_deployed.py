"""Configuration and units are switched with the release: a release that is gone back to has its own again."""

import os
import stat
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from module_runs import imported

OLD, NEW = "0.1.0-aaaaaaaaaaaa", "0.2.0-bbbbbbbbbbbb"
UNIT = "[Service]\nExecStart=/opt/lae-monitor/current/bin/lae-monitor --config /etc/lae-monitor/lae-monitor.toml {}\n"

# A release that takes the keys that it knows, and says its problems as ours does.
PROGRAM = """#!/bin/sh
unknown=$(grep -v -x -E '{known}' "$2")
[ -z "$unknown" ] || {{ echo "ok       clock: x"; echo "problem  configuration: $unknown: unknown key"; exit 78; }}
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
*show*ActiveState*) cat {folder}/state-$(eval echo \\${{$#}}) 2>/dev/null || echo active ;;
*show*ExecMainStartTimestamp*) TZ=UTC date -d @$(cat {folder}/started) +"%a %Y-%m-%d %H:%M:%S.%6N UTC" ;;
*show*ExecMainStatus*) echo 78 ;;
*show*ExecMainCode*) echo 1 ;;
esac
"""


class Module:
    """What AnsibleModule gives to the functions of a module."""

    def __init__(self, check_mode=False, **params):
        self.params = {"keep": 3, **params}
        self.check_mode = check_mode
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


class Host:
    """A monitor host: its folders, and what systemd was told."""

    def __init__(self, folder, module):
        self.folder = folder
        self.module = module
        self.etc, self.units = folder / "etc", folder / "units"
        self.releases = module.Releases(str(folder / "root"))
        self.deployed = module.deployment.Deployed(self.releases.root, self.etc, self.units)
        self.log = folder / "systemctl.log"

    def install(self, name, known):
        program = self.releases.path(name) / "bin" / "lae-monitor"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM.format(known=known))
        program.chmod(0o755)
        (self.releases.path(name) / self.module.STAMP).touch()

    def deploy(self, name, config, units=("serve",), check_mode=False):
        """What a run of the roles does: the configuration of every unit, and of all together."""
        place = self.deployed.next
        self.module.stage(Module(), self.releases, self.deployed, "")
        for part in [*place.path("units").glob("*"), *place.path("config/conf.d").glob("50-*")]:
            part.unlink()
        write(place.path("config/conf.d/10-common.toml"), config)
        for part in units:
            write(place.path(f"config/conf.d/50-{part.partition(' ')[0]}.toml"), "")
            write(place.path(f"units/lae-monitor-{part.partition(' ')[0]}.service"), UNIT.format(f"gather {part}"))
        parts = sorted(place.path("config/conf.d").glob("*.toml"))
        write(place.path("config/lae-monitor.toml"), "".join(path.read_text() for path in parts))
        said = Module(check_mode)
        return self.module.make_current(said, self.releases, self.deployed, name)["changed"], said.warnings

    def back(self, name="", check_mode=False):
        return self.module.go_back(Module(check_mode), self.releases, self.deployed, name)["changed"]

    def live(self):
        return {str(path.relative_to(self.folder)): path.read_text()
                for folder in (self.etc, self.units) for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip

    def told(self):
        """What systemd was told since the last time, without questions."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.removeprefix("--no-pager ") for line in lines if " show " not in line]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def host(tmp_path, monkeypatch):
    module = imported("lae_release")
    made = Host(tmp_path, module)
    program = tmp_path / "bin" / "systemctl"
    write(program, SYSTEMCTL.format(log=made.log, folder=tmp_path))
    program.chmod(0o755)
    write(tmp_path / "started", "1700000000")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(module.deployment, "SYSTEMD", tmp_path)
    made.install(OLD, "old = 1")
    made.install(NEW, "old = 1|new = 1")
    return made


def test_configuration_and_units_are_switched_with_the_release_and_back(host):
    assert host.deploy(OLD, "old = 1\n", ["serve", "crashes"]) == (True, [])
    old = host.live()
    assert host.told() == ["daemon-reload"], "at the first installation the roles start one after the other"
    assert host.deploy(OLD, "old = 1\n", ["serve", "crashes"]) == (False, [])
    assert host.told() == []
    assert host.deploy(NEW, "old = 1\nnew = 1\n", ["serve", "sonar"]) == (True, [])
    assert host.releases.link("current") == NEW
    new = host.live()
    assert new["etc/lae-monitor.toml"] == "old = 1\nnew = 1\n"
    assert "units/lae-monitor-crashes.service" not in new
    assert host.told() == [
        "disable --now lae-monitor-crashes.service",
        "daemon-reload",
        "enable lae-monitor-sonar.service",
    ]
    assert host.back()
    assert (host.live(), host.releases.link("current"), host.releases.link("previous")) == (old, OLD, NEW)
    assert host.told() == [
        "disable --now lae-monitor-sonar.service", "daemon-reload", "enable lae-monitor-crashes.service",
        "reset-failed lae-monitor-crashes.service lae-monitor-serve.service",
        "restart lae-monitor-crashes.service lae-monitor-serve.service",
    ]  # fmt: skip
    assert host.back()
    assert (host.live(), host.releases.link("current")) == (new, NEW), "and forth"


def test_a_release_that_refuses_its_configuration_is_not_switched_to(host):
    host.deploy(NEW, "old = 1\nnew = 1\n")
    before, told = host.live(), host.told()
    for name, config in ((OLD, "old = 1\nnew = 1\n"), (NEW, "newer = 1\n")):
        with pytest.raises(host.module.Failed, match=r"new(er)? = 1: unknown key") as failed:
            host.deploy(name, config)
        assert f"release {name} refuses its configuration. Nothing was switched, and release {NEW} runs on." in str(
            failed.value
        )
        assert (host.live(), host.releases.link("current"), host.told()) == (before, NEW, [])
    assert told


def test_a_changed_configuration_of_the_same_release_is_taken_back_too(host):
    host.deploy(NEW, "old = 1\n")
    before = host.live()
    host.deploy(NEW, "new = 1\n")
    assert host.live() != before
    assert host.back(NEW)
    assert (host.live(), host.releases.link("current")) == (before, NEW)
    assert not host.back(NEW), "nothing more to take back"


def test_a_layout_of_an_earlier_release_is_taken_over_and_gone_back_to(host):
    """Before, all releases shared what is in /etc, and nothing was kept with them."""
    host.releases.switch(OLD)
    write(host.etc / "conf.d/10-common.toml", "old = 1\n")
    write(host.etc / "lae-monitor.toml", "old = 1\n")
    write(host.etc / "credentials/incidents-gatherer.pem", "secret")
    write(host.etc / "id_ed25519", "secret")
    write(host.units / "lae-monitor-serve.service", "# as it was\n" + UNIT.format("serve"))
    write(host.units / "tahoe.service", "another's")
    before = host.live()
    assert host.deploy(NEW, "new = 1\n") == (True, [])
    assert [path for path in host.releases.root.rglob("*") if path.is_file() and path.read_text() == "secret"] == []
    assert host.back()
    assert host.live() == before
    assert host.deploy(NEW, "new = 1\n")[0]
    assert host.deploy(NEW, "new = 1\n") == (False, [])


def test_going_back_to_a_release_of_which_nothing_was_kept_leaves_what_is_there(host):
    host.releases.switch(OLD)
    host.releases.switch(NEW)
    write(host.etc / "lae-monitor.toml", "old = 1\n")
    assert host.back()
    assert (host.releases.link("current"), host.live()) == (OLD, {"etc/lae-monitor.toml": "old = 1\n"})
    host.releases.switch(NEW)
    write(host.etc / "lae-monitor.toml", "new = 1\n")
    with pytest.raises(host.module.Failed, match=f"refuses the configuration .* so release {NEW} stays"):
        host.back()
    assert host.releases.link("current") == NEW


def test_whether_going_back_will_work_is_said_before(host):
    host.releases.switch(OLD)
    write(host.etc / "lae-monitor.toml", "broken = 1\n")  # by hand, since OLD was started
    changed, warnings = host.deploy(NEW, "new = 1\n")
    assert changed
    assert len(warnings) == 1
    assert f"going back will not work: release {OLD} refuses" in warnings[0]
    assert "broken = 1: unknown key" in warnings[0]


def test_what_an_operator_put_there_is_in_force_after_the_switch_and_after_going_back(host):
    host.deploy(OLD, "old = 1\n")
    write(host.etc / "conf.d/99-own.toml", "old = 1\n")
    (host.etc / "conf.d/99-own.toml").chmod(0o640)
    assert host.deploy(NEW, "new = 1\n") == (True, [])
    assert (host.etc / "lae-monitor.toml").read_text() == "new = 1\nold = 1\n"
    write(host.etc / "conf.d/99-own.toml", "new = 1\n")
    host.back()
    assert (host.etc / "conf.d/99-own.toml").read_text() == "old = 1\n", "OLD does not know the other"
    assert stat.S_IMODE((host.etc / "conf.d/99-own.toml").stat().st_mode) == 0o640
    host.back()
    assert (host.etc / "conf.d/99-own.toml").read_text() == "new = 1\n"


def test_only_services_that_a_change_concerns_are_outdated(host):
    def outdated():
        return host.module.deployment.Units(host.deployed.live.read()).outdated(host.deployed.live)

    def run_all():
        for path in host.units.iterdir():
            os.utime(path, (1_600_000_000, 1_600_000_000))

    host.deploy(NEW, "old = 1\n", ["serve", "crashes"])
    run_all()
    assert outdated() == []
    host.deployed.stage()
    write(host.deployed.next.path("config/conf.d/50-crashes.toml"), "new = 1\n")
    host.module.make_current(Module(), host.releases, host.deployed, NEW)
    assert outdated() == ["lae-monitor-crashes.service"]
    run_all()
    host.deploy(NEW, "new = 1\n", ["serve", "crashes"])
    assert outdated() == ["lae-monitor-crashes.service", "lae-monitor-serve.service"], "a shared part concerns all"
    run_all()
    host.releases.switch(OLD)
    host.deploy(NEW, "new = 1\n", ["serve", "crashes"])
    assert outdated() == ["lae-monitor-crashes.service", "lae-monitor-serve.service"], "another release, too"


def test_a_socket_that_listens_elsewhere_is_let_go_with_its_service(host):
    host.deploy(OLD, "old = 1\n")
    host.told()
    socket = "lae-monitor-serve.socket"
    for address in ("127.0.0.1:1", "127.0.0.1:2"):
        host.deployed.stage()
        write(host.deployed.next.path(f"units/{socket}"), f"[Socket]\nListenStream={address}\n")
        host.module.make_current(Module(), host.releases, host.deployed, OLD)
    assert host.told() == [
        "daemon-reload",
        f"enable {socket}",
        f"stop lae-monitor-serve.service {socket}",
        "daemon-reload",
    ]
    write(host.folder / f"state-{socket}", "failed\n")  # it was asked too often by clients of a service that failed
    assert host.back(OLD)
    assert host.told()[-4:] == [
        f"reset-failed lae-monitor-serve.service {socket}", "stop lae-monitor-serve.service",
        f"start {socket}", "restart lae-monitor-serve.service",
    ]  # fmt: skip


@pytest.mark.parametrize("forward", [True, False])
def test_a_switch_that_was_cut_off_leaves_a_release_that_runs_and_is_ended_by_the_next(host, monkeypatch, forward):
    host.deploy(OLD, "old = 1\n")
    old = host.live()
    if not forward:
        host.deploy(NEW, "new = 1\n")
    replace, done = Path.replace, []

    def cut_off(path, target):
        if path.name.endswith(host.module.deployment.NEW) and Path(target).parent == host.etc:
            done.append(path)
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            host.deploy(NEW, "new = 1\n") if forward else host.back()
    assert done
    assert host.releases.link("current") == NEW, "it understands both configurations"
    assert list(host.etc.rglob(".*")) == []
    host.told()
    if forward:
        assert host.deploy(NEW, "new = 1\n")[0]
        assert (host.etc / "lae-monitor.toml").read_text() == "new = 1\n"
        assert "daemon-reload" in host.told()
    assert host.back()
    assert (host.live(), host.releases.link("current")) == (old, OLD)
    assert not host.deployed.unfinished.exists()


def test_a_disk_that_is_full_leaves_everything_as_it_is(host, monkeypatch):
    host.deploy(OLD, "old = 1\n")
    before, deployment = host.live(), host.module.deployment
    put = deployment.write

    def full(path, file):
        if path.parent == host.units:
            raise OSError(28, "No space left on device")
        put(path, file)

    host.told()
    with monkeypatch.context() as patched:
        patched.setattr(deployment, "write", full)
        with pytest.raises(OSError, match="No space"):
            host.deploy(NEW, "new = 1\n", ["sonar"])
    assert (host.live(), host.releases.link("current"), host.told()) == (before, OLD, [])
    assert not host.deployed.unfinished.exists()


def test_check_mode_changes_nothing(host):
    host.deploy(OLD, "old = 1\n")
    before, told = host.live(), host.told()
    host.module.stage(Module(check_mode=True), host.releases, host.deployed, "")
    assert host.module.make_current(Module(check_mode=True), host.releases, host.deployed, NEW)["changed"]
    assert not host.module.make_current(Module(check_mode=True), host.releases, host.deployed, OLD)["changed"]
    host.deploy(NEW, "new = 1\n")
    after, _ = host.live(), host.told()
    assert host.back(check_mode=True)
    assert (host.live(), host.told(), host.releases.link("current")) == (after, [], NEW)
    assert before != after
    assert told


def test_which_services_run_is_said(host):
    host.deploy(OLD, "old = 1\n", ["serve", "crashes"])
    write(host.folder / "state-lae-monitor-serve.service", "failed\n")
    assert host.module.deployment.Units(host.deployed.live.read()).states() == [
        "lae-monitor-crashes.service active",
        "lae-monitor-serve.service failed (exit code 78)",
    ]


def test_nothing_is_left_once_all_is_removed(host):
    host.deploy(OLD, "old = 1\n")
    host.deploy(NEW, "new = 1\n")
    host.module.remove_all(Module(), host.releases, host.deployed, "")
    assert not host.releases.root.exists()

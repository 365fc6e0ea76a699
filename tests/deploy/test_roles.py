"""The rules of roles/: one skeleton, every variable documented and named for its role, and a way back."""

import re
from pathlib import Path

import pytest
import yaml

HOUSE = Path(__file__).parents[2]
ROLES = sorted(path for path in (HOUSE / "roles").iterdir() if path.is_dir())
SHARED = "lae_common"
PHASES = {"install": "install", "configure": "configure", "service": "run", "probe": "verify"}  # file: tag

# Whatever is below these is removed by roles/lae_common/tasks/uninstall.yml.
TAKEN_AWAY = (
    "/etc/lae-monitor/", "{{ __lae_common_etc }}/", "{{ __lae_common_new }}/", "{{ __lae_common_new_units }}/lae-monitor-",
    "{{ lae_common_root }}/",
    "/etc/tmpfiles.d/lae-monitor.conf", "{{ __monitor_secrets_folder }}/",
)  # fmt: skip

# And these by the role's own.
OWN = {
    "crash_reporting": (
        "/usr/local/lib/lae-crash-reporter/", "/etc/lae-crash-reporter/", "/etc/systemd/system/lae-crash-reporter.",
    ),
}  # fmt: skip

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path):
    return yaml.safe_load(path.read_text()) if path.exists() else None


def tasks(role):
    """Every task and handler of a role, those in blocks too."""

    def flat(listed):
        for task in listed:
            yield task
            for part in ("block", "rescue", "always"):
                yield from flat(task.get(part, []))

    for path in sorted([*(role / "tasks").glob("*.yml"), *(role / "handlers").glob("*.yml")]):
        yield from flat(load(path) or [])


def specs(role):
    return load(role / "meta/argument_specs.yml")["argument_specs"]


def test_there_are_roles():
    assert SHARED in {role.name for role in ROLES}
    assert len(ROLES) >= 5


@every_role
def test_every_role_has_the_same_skeleton(role):
    wanted = {"main", "preflight", "configure", "verify"}
    if role.name != SHARED:
        wanted.add("probe")
    assert wanted <= {path.stem for path in (role / "tasks").glob("*.yml")}
    for file in ("defaults/main.yml", "vars/main.yml", "meta/main.yml", "meta/argument_specs.yml"):
        assert (role / file).is_file(), file
    assert load(role / "meta/main.yml")["galaxy_info"]["role_name"] == role.name


@every_role
def test_every_default_is_specified_and_the_other_way_round(role):
    defaults = load(role / "defaults/main.yml")
    options = specs(role)["main"]["options"]
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults
    assert [name for name, option in options.items() if name not in defaults and not option.get("required")] == []


@every_role
def test_preflight_is_specified_as_main_is(role):
    assert specs(role)["preflight"] == specs(role)["main"]
    assert specs(role)["main"]["description"]
    assert [name for name, option in specs(role)["main"]["options"].items() if not option.get("description")] == []


@every_role
def test_every_variable_is_named_for_its_role(role):
    mine = re.compile(rf"_{{0,2}}{role.name}_\w+")
    shared = re.compile(rf"_{{0,2}}(?:{role.name}|{SHARED})_\w+")  # its parameters
    made = {*load(role / "defaults/main.yml"), *load(role / "vars/main.yml"), *specs(role)["main"]["options"]}
    made |= {task["register"] for task in tasks(role) if "register" in task}
    made |= {name for task in tasks(role) for name in task.get("ansible.builtin.set_fact", {})}
    assert [name for name in sorted(made) if not mine.fullmatch(name)] == []
    assert [name for name in load(role / "vars/main.yml") if not name.startswith("__")] == []
    assert [name for task in tasks(role) for name in task.get("vars", {}) if not shared.fullmatch(name)] == []


@every_role
def test_every_phase_has_its_tag(role):
    phases = {}
    for task in load(role / "tasks/main.yml"):
        if file := task.get("ansible.builtin.import_tasks"):
            phases[file.removesuffix(".yml")] = set(task["tags"])
        assert role.name in task["tags"]
        assert all(re.fullmatch(rf"{role.name}(_(install|configure|run|verify))?", tag) for tag in task["tags"])
    for phase, tag in PHASES.items():
        if (role / f"tasks/{phase}.yml").exists() and (role.name, phase) != (SHARED, "probe"):
            assert f"{role.name}_{tag}" in phases[phase]
    assert phases["preflight"] >= {f"{role.name}_configure"}


@every_role
def test_what_a_role_brings_is_taken_away_again(role):
    undone = re.findall(r"name: (\w+)\n\s+tasks_from: uninstall", (HOUSE / "playbooks/uninstall.yml").read_text())
    assert SHARED in undone
    if (role / "tasks/uninstall.yml").exists():
        assert role.name in undone
    written = [
        action["dest"]
        for task in tasks(role)
        for action in task.values()
        if isinstance(action, dict) and "dest" in action
    ]
    assert [path for path in written if not path.startswith(TAKEN_AWAY + OWN.get(role.name, ()))] == []
    removed = (role / "tasks/uninstall.yml").read_text() if role.name in OWN else ""
    assert [path for path in OWN.get(role.name, ()) if path.rstrip("/.").rpartition("/")[2] not in removed] == []
    if not written:
        assert (role / "tasks/uninstall.yml").exists()


@every_role
def test_secrets_are_not_told(role):
    """A task that handles a FURL, an identity or a token says no_log, unless its module keeps the value to itself."""
    for task in tasks(role):
        name = next((key for key in task if "." in key or key in {"tahoe_option", "lae_release", "lae_preflight"}), "")
        if name in {"ansible.builtin.assert", "ansible.builtin.fail", "tahoe_option"}:
            continue
        if re.search(
            r"--print-furl|_identity \}\}|_furl \}\}|_token \}\}|_secrets \| dict2items",
            f"{task.get(name)} {task.get('loop')}",
        ):
            assert task.get("no_log") is True, task["name"]

"""The collection lae.monitor: it builds, holds what it should, and works where there is no checkout."""

import json
import re
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

import lae_monitor

HOUSE = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (HOUSE / "roles").iterdir() if path.is_dir())
MODULES = sorted(path.stem for path in (HOUSE / "plugins/modules").glob("*.py"))
NODE = "[node]\nnickname = storage\n#log_gatherer.furl =\n"


@pytest.fixture(scope="module")
def archive(tool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    tool("ansible-galaxy", "collection", "build", "--output-path", folder)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def elsewhere(tool, archive, tmp_path_factory):
    """A folder without a checkout, and the environment that finds the collection."""
    folder = tmp_path_factory.mktemp("elsewhere")
    tool("ansible-galaxy", "collection", "install", archive, "--offline", "-p", folder / "collections", cwd=folder)
    return folder, {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections")}


def test_it_has_the_version_of_the_package():
    assert yaml.safe_load((HOUSE / "galaxy.yml").read_text())["version"] == lae_monitor.__version__


def test_it_needs_an_ansible_that_roles_need_too():
    runtime = yaml.safe_load((HOUSE / "meta/runtime.yml").read_text())["requires_ansible"]
    oldest = {
        yaml.safe_load(path.read_text())["galaxy_info"]["min_ansible_version"]
        for path in HOUSE.glob("roles/*/meta/main.yml")
    }
    assert {runtime} == {f">={version}.0" for version in oldest}


def test_it_holds_what_deploys_and_nothing_else(archive):
    with tarfile.open(archive) as packed:
        files = {member.name for member in packed.getmembers() if not member.isdir()}
    top = {name.partition("/")[0] for name in files}
    assert top == {
        "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "lae_monitor", "meta", "playbooks", "plugins",
        "requirements.yml", "roles",
    }  # fmt: skip
    assert {name for name in files if name.startswith("lae_monitor/")} == {
        "lae_monitor/fleet/tahoe_cfg.py", "lae_monitor/node/crash_finder.py", "lae_monitor/node/crash_reporter.py",
    }  # fmt: skip
    assert {name for name in files if name.startswith("plugins/")} == {
        "plugins/module_utils/lae_deployed.py", "plugins/module_utils/tahoe_cfg.py",
        *(f"plugins/modules/{module}.py" for module in MODULES)
    }  # fmt: skip
    assert not [name for name in files if name.endswith((".pyc", ".tar"))]


def test_every_role_is_documented_in_it(tool, elsewhere):
    folder, environ = elsewhere
    names = [f"lae.monitor.{role}" for role in ROLES]
    told = json.loads(tool("ansible-doc", "-t", "role", "--json", *names, cwd=folder, **environ))
    assert sorted(told) == names
    assert all(about["entry_points"].keys() == {"main", "preflight"} for about in told.values())


def test_what_a_role_copies_to_hosts_is_what_the_package_has(elsewhere):
    folder, _ = elsewhere
    files = folder / "collections/ansible_collections/lae/monitor/roles/crash_reporting/files"
    for name in ("crash_finder.py", "crash_reporter.py"):
        assert (files / name).read_bytes() == (HOUSE / "lae_monitor/node" / name).read_bytes()


def test_every_module_is_documented_in_it(tool, elsewhere):
    folder, environ = elsewhere
    names = [f"lae.monitor.{module}" for module in MODULES]
    told = json.loads(tool("ansible-doc", "--json", *names, cwd=folder, **environ))
    assert sorted(told) == names
    assert all(module["doc"]["options"] and module["examples"] and module["return"] for module in told.values())


def test_its_roles_and_playbooks_are_understood(tool, elsewhere):
    folder, environ = elsewhere
    hosts = "all:\n  children:\n    lae_monitor: {hosts: {m1: }}\n    lae_node: {hosts: {n1: }}\n"
    (folder / "hosts.yml").write_text(hosts)
    play = [{"name": "All", "hosts": "all", "roles": [{"role": f"lae.monitor.{role}"} for role in ROLES]}]
    (folder / "own.yml").write_text(yaml.safe_dump(play))
    playbooks = [f"lae.monitor.{path.stem}" for path in (HOUSE / "playbooks").glob("*.yml")]
    assert "lae.monitor.site" in playbooks
    tool("ansible-playbook", "-i", "hosts.yml", "--syntax-check", "own.yml", *playbooks, cwd=folder, **environ)


def test_its_roles_find_its_modules(tool, elsewhere):
    """A role of the collection says `lae_preflight`, by its short name, and means the collection's."""
    folder, environ = elsewhere
    listed = tool("ansible-playbook", "-i", "localhost,", "--list-tasks", "lae.monitor.monitor", cwd=folder, **environ)
    assert "lae_common" in listed
    play = [{
        "name": "Look", "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [{"name": "Look", "ansible.builtin.include_role": {"name": "lae.monitor.tahoe_reporting", "tasks_from": "uninstall"}}],
    }]  # fmt: skip
    (folder / "tahoe.cfg").write_text(NODE)
    (folder / "role.yml").write_text(yaml.safe_dump(play))
    nodes = json.dumps({"tahoe_reporting_nodes": [{"config": str(folder / "tahoe.cfg")}]})
    said = tool("ansible-playbook", "-i", "localhost,", "--check", "role.yml", "-e", nodes, cwd=folder, **environ)
    assert re.search(r"localhost\s+: ok=2 +changed=0 ", said), said


def test_its_modules_run_by_their_full_names(tool, elsewhere):
    folder, environ = elsewhere
    (folder / "tahoe.cfg").write_text(NODE)

    def run(module, **arguments):
        said = tool(
            "ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", f"lae.monitor.{module}", "--check", "-a",
            json.dumps(arguments), cwd=folder, **environ, ANSIBLE_LOAD_CALLBACK_PLUGINS="1",
            ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        )  # fmt: skip
        return json.loads(said)["plays"][0]["tasks"][0]["hosts"]["localhost"]

    furl = "pb://secret@tcp:monitoring.example.org:3118/secret"
    option = {"path": str(folder / "tahoe.cfg"), "section": "node", "option": "log_gatherer.furl", "value": furl}
    edited = run("tahoe_option", **option)
    assert edited["changed"] is True
    assert "secret" not in json.dumps(edited)
    assert (folder / "tahoe.cfg").read_text() == NODE
    assert run("lae_release", root=str(folder / "opt"), name="0.1.0-0123456789ab")["releases"] == []

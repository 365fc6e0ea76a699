"""Playbooks and roles are well-formed: linters are content, and every playbook is understood with every inventory."""

import ast
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import ansible_collections
import pytest
import yaml

HOUSE = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PLAYBOOKS = sorted((HOUSE / "playbooks").glob("*.yml"))
MODULES = sorted((HOUSE / "plugins/modules").glob("*.py"))


def test_yamllint_has_nothing_to_say(tool):
    tool("yamllint", "--strict", ".")


@pytest.mark.full
def test_ansible_lint_has_nothing_to_say(tool):
    # Its syntax checks would ask EC2 otherwise: ansible.cfg's inventory.
    tool("ansible-lint", "--offline", "--profile", "production", "-q", ANSIBLE_INVENTORY="inventory/static.example.yml")


# ---- inventories ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """The environment of an operator whose EC2 is a moto server with a monitor and a node."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        "AWS_ENDPOINT_URL_EC2": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        server = subprocess.Popen([BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        fleet = [sys.executable, HOUSE / "tests/lab/ec2_fleet.py", "m1=monitor=10.77.0.11", "n1=node=10.77.0.12"]
        subprocess.run(fleet, env=environ, check=True, capture_output=True, timeout=120)
        yield {key: value for key, value in environ.items() if key.startswith("AWS_")}
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.parametrize("inventory", ["aws_ec2.yml", "lab/hosts.yml", "static.example.yml"])
def test_every_playbook_is_understood_with_every_inventory(tool, cloud, inventory):
    options = ("-i", f"inventory/{inventory}")
    listed = json.loads(tool("ansible-inventory", *options, "--list", **cloud))
    assert listed["lae_monitor"]["hosts"]
    assert listed["lae_node"]["hosts"]
    tool("ansible-playbook", *options, "--syntax-check", "site.yml", *PLAYBOOKS, **cloud)


def test_every_inventory_is_tried():
    files = {str(path.relative_to(HOUSE / "inventory")) for path in (HOUSE / "inventory").rglob("*.yml")}
    assert {file for file in files if "group_vars" not in file} == {
        "aws_ec2.yml",
        "lab/hosts.yml",
        "static.example.yml",
    }


# ---- modules -------------------------------------------------------------------------------------------------------


def constants(path):
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id in {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    }


def spec(path):
    """The argument_spec that the module hands to AnsibleModule."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "argument_spec":
            return ast.literal_eval(node.value)
    raise AssertionError(path)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_is_documented_as_it_is(path):
    told = {name: yaml.safe_load(text) for name, text in constants(path).items()}
    assert told.keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    documented = told["DOCUMENTATION"]
    assert documented["module"] == path.stem
    assert documented["short_description"]
    assert documented["attributes"]["check_mode"]["support"] == "full"
    options, argument_spec = documented["options"], spec(path)
    assert options.keys() == argument_spec.keys()
    for name, option in options.items():
        assert option["description"], name
        for key in ("type", "elements", "default", "choices", "required"):
            assert option.get(key) == argument_spec[name].get(key), f"{name}: {key}"


def test_short_names_of_modules_are_excused_only_where_they_stand():
    """`# noqa: fqcn[action]` is for our own modules: their short names are found from a checkout, through ansible.cfg, as
    well as in the collection, whose roles look among its own modules first."""
    ours = {path.stem for path in MODULES}
    for path in sorted((HOUSE / "roles").rglob("*.yml")):
        for line in path.read_text().splitlines():
            word = line.strip().removeprefix("- ").partition(":")[0]
            assert ("noqa: fqcn[action]" in line) == (word in ours and line.partition("#")[0].strip() == f"{word}:"), (
                line
            )


# ---- versions ------------------------------------------------------------------------------------------------------


def installed(collection):
    """The version of a collection that the PyPI package `ansible` brought."""
    manifest = Path(ansible_collections.__path__[0], *collection.split("."), "MANIFEST.json")
    return json.loads(manifest.read_text())["collection_info"]["version"]


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="requirements.yml names what ansible 12 brings, for Python 3.11"
)
def test_requirements_are_the_collections_that_the_tests_run_with():
    asked = {
        one["name"]: one["version"] for one in yaml.safe_load((HOUSE / "requirements.yml").read_text())["collections"]
    }
    assert asked == {name: installed(name) for name in asked}


def test_requirements_name_what_is_used_and_no_more():
    text = "".join(
        path.read_text() for folder in ("roles", "playbooks", "inventory") for path in (HOUSE / folder).rglob("*.yml")
    )
    words = re.findall(r"(?:^|[\s'\"(-])([a-z_]+\.[a-z_]+)\.[a-z_0-9]+(?=:|'|\"|\s|$)", text, re.MULTILINE)
    known = {word for word in words if Path(ansible_collections.__path__[0], *word.split(".")).is_dir()}
    asked = {one["name"] for one in yaml.safe_load((HOUSE / "requirements.yml").read_text())["collections"]}
    assert asked == known

"""docs/deploy.md has every variable of every role, and every unit, and none that does not exist."""

import re
from pathlib import Path

import yaml

HOUSE = Path(__file__).parent.parent.parent
NOT_OF_A_ROLE = {"lae_serial", "lae_address"}  # of a playbook, and of a host


def specified():
    for path in sorted((HOUSE / "roles").glob("*/meta/argument_specs.yml")):
        yield from yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]


def test_every_variable_is_there_and_no_other(page, markdown):
    part = page("deploy.md").partition("## Variables")[2]
    (table,) = list(markdown.tables(part))[:1]
    assert sorted(markdown.code(row[0]) for row in table) == sorted({*specified(), *NOT_OF_A_ROLE})
    used = "".join(
        path.read_text() for path in [*(HOUSE / "playbooks").glob("*.yml"), *(HOUSE / "roles").rglob("*.j2")]
    )
    assert [name for name in NOT_OF_A_ROLE if name not in used] == []


def test_every_unit_is_there(page, markdown):
    text = page("deploy.md")
    parts = {
        match
        for path in (HOUSE / "roles").glob("*/tasks/service.yml")
        for match in re.findall(r"lae_common_part: (\w+)", path.read_text())
    }
    assert parts
    assert {part for part in parts if f"`lae-monitor-{part}.service`" not in text} == set()

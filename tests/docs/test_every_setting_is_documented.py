"""docs/configuration.md has every key with its default, its type and its meaning, and no key that does not exist."""

import re

from lae_monitor.config.describe import toml
from lae_monitor.config.keys import all_sections, keys
from lae_monitor.kinds import KINDS


def wanted():
    """The rows of the page's tables, section by section."""
    for section in all_sections(KINDS):
        yield section, [row(key) for key in keys({section: all_sections(KINDS)[section]})]


def row(key):
    default = "follows from `state.path`" if key.default is None else f"`{toml(key.default)}`"
    return [f"`{key.name}`", default, key.description, re.split(", such as|: |; ", key.form)[0]]


def line(cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def test_each_section_has_its_table(page, markdown):
    text = page("configuration.md")
    for section, rows in wanted():
        heading = f"\n### [{section}]\n"
        assert heading in text, f"docs/configuration.md has no heading {heading.strip()!r}"
        found = next(iter(markdown.tables(text.partition(heading)[2])))
        should = "\n".join(map(line, rows))
        assert found == rows, (
            f"the table of [{section}] should be:\n| key | default | meaning | value |\n|---|---|---|---|\n{should}"
        )


def test_no_section_is_documented_that_does_not_exist(page):
    documented = {line[5:-1] for line in page("configuration.md").splitlines() if line.startswith("### [")}
    assert documented == set(all_sections(KINDS))


def test_variables_are_explained_by_some_that_exist(all_pages, markdown):
    known = {key.variable for key in keys(all_sections(KINDS))}
    named = {
        variable
        for text in all_pages.values()
        for block in markdown.fences(text, "sh")
        for variable in re.findall(r"LAE_MONITOR__\w+", block)
    }
    assert named
    assert named <= known

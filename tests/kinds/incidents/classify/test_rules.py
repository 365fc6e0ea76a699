"""Rules know the incidents they describe, the shipped ones those of Tahoe-LAFS, and mistakes are told with file, rule and key."""

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from flogs import ask, flog, sources

from lae_monitor.kinds.incidents.classify.rules import Rules
from lae_monitor.kinds.incidents.classify.sources import PRESETS, Places, read_sources
from lae_monitor.kinds.rule_files.table import RulesError

CASES = Path(__file__).with_name("cases")
ROOT = Path(__file__).parents[4]


def cases(name):
    return [pytest.param(case, id=case["name"]) for case in tomllib.loads((CASES / name).read_text())["case"]]


def toml(rule):
    return "\n".join(
        ('[[rule]]\nname = "tried"\ncategory = "found"', *(f"{key} = {inline(rule[key])}" for key in rule))
    )


def inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


@pytest.fixture(scope="module")
def tahoe():
    told = cases("tahoe.toml")
    files = [flog(case.values[0]["trigger"]) for case in told]
    _, opinions, _ = ask(read_sources(Places("tahoe", "")), *files)
    return {case.id: opinion for case, opinion in zip(told, opinions, strict=True)}


@pytest.mark.parametrize("case", cases("tahoe.toml"))
def test_the_preset_knows_what_tahoe_logs(tahoe, case):
    opinion = tahoe[case["name"]]
    assert (opinion.categories, opinion.error) == (case["categories"], "")


def test_every_category_of_the_preset_has_a_case():
    shipped = tomllib.loads(read_sources(Places("tahoe", "")).rules)["rule"]
    tried = {category for case in cases("tahoe.toml") for category in case.values[0]["categories"]}
    untried = {rule["category"] for rule in shipped} - tried
    # What each of three may ask and each of three may answer is made the same way.
    assert all(category.startswith(("mutable-retrieve-query-", "mutable-unknown-query-")) for category in untried)


@pytest.mark.parametrize("case", cases("rules.toml"))
def test_a_rule_knows_what_it_describes(case):
    triggers = [(trigger, True) for trigger in case.get("knows", ())] + [(one, False) for one in case.get("not", ())]
    files = [flog(trigger, case.get("events", ())) for trigger, _ in triggers]
    loaded, opinions, _ = ask(sources(toml(case["rule"])), *files)
    assert loaded.steps == ["rule tried"]
    assert [(trigger, "found" in opinion.categories) for (trigger, _), opinion in zip(triggers, opinions, strict=True)] \
        == triggers  # fmt: skip


GOOD = '[[rule]]\nname = "a"\ncategory = "x"\numid = "y"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[rule]", "f.toml: not TOML: "),
        ("rules = 3", 'f.toml: rules: unknown key, did you mean "rule"?'),
        ("rule = 3", "f.toml: rule: wants a list of tables; this is 3"),
        ('[[rule]]\ncategory = "x"\numid = "y"', "f.toml: rule[1]: name: has to be given"),
        (GOOD + GOOD, "f.toml: rule: there is more than one with the name 'a'"),
        (GOOD.replace('"a"', '"a b"'), "f.toml: rule[1]: name: is 1 to 100 letters, digits, _ and -; this is 'a b'"),
        ('[[rule]]\nname = "a"\numid = "y"', "f.toml: rule a: category: has to be given"),
        (GOOD.replace('"x"', '"a/b"'), "f.toml: rule a: category: 'a/b' is no name: "),
        (GOOD.replace('"x"', '"../x"'), "f.toml: rule a: category: '../x' is no name: "),
        (GOOD.replace('"x"', '"x\\n"'), "f.toml: rule a: category: 'x\\n' is no name: "),
        (GOOD.replace('"x"', '"X"'), "f.toml: rule a: category: 'X' is no name: "),
        (GOOD.replace('"x"', "[]"), "f.toml: rule a: category: wants text or a list of texts; this is an empty list"),
        ('[[rule]]\nname = "a"\ncategory = "x"', "f.toml: rule a: says nothing of the incident; "),
        (GOOD.replace("umid", "umdi"), 'f.toml: rule a: umdi: unknown key, did you mean "umid"?'),
        (GOOD.replace('"y"', "3"), "f.toml: rule a: umid: wants text or a list of texts; this is "),
        (GOOD + 'level = "WIERD"', "f.toml: rule a: level: is a number, or one of NOISY, "),
        (GOOD + "level = 3.5", "f.toml: rule a: level: wants a whole number or text; this is "),
        (GOOD + "message = '('", "f.toml: rule a: message: is no regular expression: missing )"),
        (GOOD + f"message = '{'x' * 20001}'", "f.toml: rule a: message: is too large with its repeats written out: "),
        (GOOD + "event = {}", "f.toml: rule a: event: says nothing; it wants one of "),
        (GOOD + 'event.host = "h"', "f.toml: rule a: event: host: unknown key"),
        (GOOD + "unless = 3", "f.toml: rule a: unless: wants a table; this is "),
        (GOOD + f"x = {'[' * 3000}", "f.toml: not TOML: "),
    ],
)
def test_a_mistake_names_file_rule_and_key(text, problem):
    with pytest.raises(RulesError) as told:
        Rules.parse(text, "f.toml")
    assert any(one.startswith(problem) for one in told.value.problems), told.value.problems


def test_all_mistakes_are_told_at_once():
    with pytest.raises(RulesError) as told:
        Rules.parse(GOOD.replace("umid", "umdi").replace('"x"', '"X"') + "message = '('\nlevel = []", "f.toml")
    assert len(told.value.problems) == 4


def test_every_preset_is_in_the_wheel(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    assert {f"lae_monitor/kinds/incidents/classify/presets/{name}.toml" for name in PRESETS.names} <= shipped


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tahoo", None, 'there is no such file, and no preset of that name; did you mean "tahoe"?'),
        ("x.toml", b"\xff", "line 1 is not UTF-8"),
        ("x.toml", b"#" * (256 * 1024 + 1), "is larger than 262144 bytes"),
    ],
)
def test_a_file_that_cannot_be_taken_is_told(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RulesError, match=problem.replace("?", r"\?")):
        read_sources(Places(str(tmp_path / name), ""))


def test_a_folder_of_classifiers_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RulesError, match="nowhere: cannot be read: No such file"):
        read_sources(Places("none", str(tmp_path / "nowhere")))

"""Throttle rules decide as Antenna and Socorro would, whatever a client sends, and say what is wrong with them."""

import json
import logging
import math
import os
import random
import re
import time
import tomllib
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.core.names import new_crash_id
from lae_monitor.kinds.crashes.program import Program, program_of
from lae_monitor.kinds.crashes.throttle.facts import Lists, language
from lae_monitor.kinds.crashes.throttle.rules import NO_MATCH, PRESETS, Result, Rules, Verdict, rules_file
from lae_monitor.kinds.rule_files.file import MAX_FILE
from lae_monitor.kinds.rule_files.table import RulesError

CASES = Path(__file__).parent / "cases"
NOW = datetime.fromisoformat("2026-11-22T12:00:00+00:00").timestamp()
CRASH_ID = new_crash_id(NOW)
LISTS = [tomllib.loads((CASES / f"{name}.toml").read_text()) for name in PRESETS.names]
LANGUAGE = tomllib.loads((CASES / "language.toml").read_text())["case"]
WRONG = tomllib.loads((CASES / "wrong.toml").read_text())["case"]
SEED = random.SystemRandom().randrange(2**32)


def rules(text):
    return Rules.parse(text, "f.toml")


def rule(name="it", **keys):
    """A rules file of one rule."""
    return "[[rule]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in {"name": name, **keys}.items())


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def decide(found, annotations, *, draw=0.5, crash_id=CRASH_ID, now=NOW):
    program = program_of(annotations)
    return found.decide(annotations, program=program, crash_id=crash_id, now=now, random=lambda: draw)


@pytest.mark.parametrize(
    ("name", "case"),
    [(one["rules"], case) for one in LISTS for case in one["case"]],
    ids=lambda value: value if isinstance(value, str) else value["says"],
)
def test_a_preset_decides_as_its_model_did(name, case):
    now = datetime.fromisoformat(case["received"]).timestamp() if "received" in case else NOW
    verdict = decide(Rules.parse(PRESETS.read(name), name), case["annotations"], draw=case.get("draw", 0.5), now=now)
    result, hit, *percent = case["verdict"]
    assert verdict == Verdict(Result[result], hit, *percent)


@pytest.mark.parametrize("one", LISTS, ids=lambda one: one["rules"])
def test_every_rule_of_a_preset_has_a_case(one):
    assert {case["verdict"][1] for case in one["case"]} == set(Rules.parse(PRESETS.read(one["rules"]), "").names)


def test_presets_are_the_files_that_ship():
    assert {path.stem for path in PRESETS.folder.glob("*.toml")} == set(PRESETS.names)


@pytest.mark.parametrize("case", LANGUAGE, ids=lambda case: toml(case["when"]))
def test_a_condition_holds_for_what_it_says_and_nothing_else(case):
    found = rules(rule(**case["when"], result="accept"))
    for annotations in case["hit"]:
        assert decide(found, annotations) == Verdict(Result.ACCEPT, "it"), annotations
    for annotations in case.get("missed", []):
        assert decide(found, annotations) == Verdict(Result.REJECT, NO_MATCH, 0), annotations


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case["problems"][0])
def test_a_mistake_is_told_with_file_rule_and_key(case):
    with pytest.raises(RulesError) as raised:
        rules(case["text"] * case.get("repeat", 1))
    assert len(raised.value.problems) == len(case["problems"])
    for problem, said in zip(raised.value.problems, case["problems"], strict=True):
        assert problem.startswith(said)


def test_nesting_has_a_limit():
    nested = {"key": "A"}
    for _ in range(10):
        nested = {"not": nested}
    assert decide(rules(rule(**nested, result="accept")), {"A": ""}).result is Result.ACCEPT
    with pytest.raises(RulesError, match="nested deeper than 10 levels"):
        rules(rule(**{"not": nested}, result="accept"))
    with pytest.raises(RulesError, match="nested too deeply"):
        rules("a = " + "[" * 100_000)


def test_results_have_the_numbers_of_antenna_and_of_socorro():
    assert [int(Result[name]) for name in ("ACCEPT", "DEFER", "REJECT", "FAKEACCEPT", "CONTINUE")] == [0, 1, 2, 3, 4]
    legacy = {result.name: Verdict(result, "x").legacy_processing for result in Result if result.name != "CONTINUE"}
    assert legacy == {"ACCEPT": 0, "DEFER": 1, "REJECT": 2, "FAKEACCEPT": 2, "IGNORE": 3}


# ---- what is supported, and who understands refusals ---------------------------------------------------------------


def test_unlisted_products_and_packages_come_first_where_no_rule_says_when():
    lists = 'products = ["a", "b"]\n[packages]\nb = ["org.b"]\n'
    found = rules(lists + rule(result="accept"))
    assert found.names == ["unsupported_product", "unsupported_packagename", "it"]
    assert decide(found, {"ProductName": "a"}) == Verdict(Result.ACCEPT, "it")
    assert decide(found, {"ProductName": "c"}) == Verdict(Result.REJECT, "unsupported_product")
    assert decide(found, {"ProductName": "b"}) == Verdict(Result.REJECT, "unsupported_packagename")
    assert decide(found, {"prod": "b", "Android_PackageName": "org.b"}) == Verdict(Result.ACCEPT, "it")
    own = rules(lists + rule(key="B", result="accept") + rule("mine", unlisted="product", result="defer"))
    assert own.names == ["unsupported_packagename", "it", "mine"]
    assert decide(own, {"ProductName": "c"}) == Verdict(Result.DEFER, "mine")
    assert decide(own, {"ProductName": "c", "B": ""}) == Verdict(Result.ACCEPT, "it")


def test_empty_lists_support_everything():
    found = rules("products = []\n[packages]\n" + rule(result="accept"))
    assert found.names == ["it"]
    assert decide(found, {}) == Verdict(Result.ACCEPT, "it")
    placed = rules("products = []\n" + rule("no", unlisted="product", result="reject") + rule(result="accept"))
    assert decide(placed, {"ProductName": "x"}) == Verdict(Result.ACCEPT, "it")


REFUSAL = '[minimal_version_for_understanding_refusal]\nFirefox = "3.5.4"\n'


@pytest.mark.parametrize(
    ("annotations", "result"),
    [
        ({"ProductName": "Firefox", "Version": "3.5.4"}, Result.REJECT),
        ({"ProductName": "Firefox", "Version": "3.5.10"}, Result.REJECT),
        ({"prod": "Firefox", "ver": "4.0b1"}, Result.REJECT),
        ({"ProductName": "Firefox", "Version": "3.5.3"}, Result.DEFER),
        ({"ProductName": "Firefox", "Version": "3.5.4pre"}, Result.DEFER),
        ({"ProductName": "Firefox", "Version": "new"}, Result.DEFER),
        ({"ProductName": "Firefox"}, Result.DEFER),
        ({"ProductName": "Other", "Version": "9"}, Result.DEFER),
        ({}, Result.DEFER),
    ],
)
def test_who_does_not_understand_a_refusal_is_deferred(annotations, result):
    assert decide(rules(REFUSAL + rule(result="reject")), annotations) == Verdict(result, "it")
    assert decide(rules("never_discard = true\n" + REFUSAL + rule(result="reject")), annotations).result is Result.DEFER
    assert decide(rules("never_discard = false\n" + rule(result="reject")), annotations).result is Result.REJECT
    assert decide(rules("never_discard = true\n" + rule(result="fakeaccept")), annotations).result is Result.FAKEACCEPT
    missed = decide(rules(REFUSAL + rule(key="x", result="accept")), annotations)
    assert missed == Verdict(result, NO_MATCH, 0)


# ---- samples -------------------------------------------------------------------------------------------------------


def sampled(percent, by="random", then="accept", otherwise="reject", name="it"):
    return rules(rule(name, sample={"percent": percent, "then": then, "else": otherwise, "by": by}))


def test_none_and_all_are_exact():
    for draw in (0.0, 0.5, math.nextafter(1, 0)):
        assert decide(sampled(0), {}, draw=draw) == Verdict(Result.REJECT, "it", 0)
        assert decide(sampled(100), {}, draw=draw) == Verdict(Result.ACCEPT, "it", 100)


@pytest.mark.parametrize("percent", [0.5, 10, 25, 90])
@pytest.mark.parametrize("by", ["random", "crash_id", "guid"])
def test_a_sample_has_its_size(percent, by):
    print(f"seed {SEED}")
    chance, found, many = random.Random(SEED), sampled(percent, by), 20_000
    accepted = sum(
        found.decide(
            {"guid": f"{chance.random()}"},
            program=Program(),
            crash_id=f"{chance.getrandbits(128):032x}0261122",
            now=NOW,
            random=chance.random,
        ).result
        is Result.ACCEPT
        for _ in range(many)
    )
    share = percent / 100
    assert abs(accepted - many * share) < 6 * math.sqrt(many * share * (1 - share))


def test_the_same_id_falls_on_the_same_side_whatever_its_digit_says():
    found = sampled(50, "crash_id")
    assert not found.is_random
    sides = set()
    for _ in range(200):
        crash_id = new_crash_id(NOW)
        both = {decide(found, {}, crash_id=f"{crash_id[:-7]}{digit}261122", draw=digit / 4) for digit in range(4)}
        assert len(both) == 1
        sides |= both
    assert len(sides) == 2


def test_the_same_client_falls_on_the_same_side_and_without_a_guid_the_id_counts():
    found = sampled(50, "guid")
    for number in range(100):
        assert len({decide(found, {"guid": f"{number}"}, crash_id=new_crash_id(NOW)) for _ in range(5)}) == 1
    for annotations in ({}, {"guid": ""}):
        assert decide(found, annotations) == decide(sampled(50, "crash_id"), annotations)
        assert len({decide(found, annotations, crash_id=new_crash_id(NOW)) for _ in range(100)}) == 2


@given(st.text(), st.floats(0, 100), st.floats(0, 100))
def test_who_is_in_a_sample_stays_in_a_larger_one(guid, one, other):
    small, large = sorted((one, other))
    if decide(sampled(small, "guid"), {"guid": guid}).result is Result.ACCEPT:
        assert decide(sampled(large, "guid"), {"guid": guid}).result is Result.ACCEPT


def test_rules_draw_independently_of_each_other():
    text = "".join(
        rule(name, sample={"percent": 50, "then": then, "else": "reject", "by": "crash_id"})
        for name, then in (("first", "continue"), ("second", "accept"))
    )
    found, chance = rules(text), random.Random(SEED)
    ids = [f"{chance.getrandbits(128):032x}0261122" for _ in range(4000)]
    accepted = sum(decide(found, {}, crash_id=crash_id).result is Result.ACCEPT for crash_id in ids)
    assert 800 < accepted < 1200, f"seed {SEED}"


def test_either_branch_may_continue():
    text = rule("a", sample={"percent": 50, "then": "defer", "else": "continue"}) + rule("b", result="accept")
    assert decide(rules(text), {}, draw=0.49) == Verdict(Result.DEFER, "a", 50)
    assert decide(rules(text), {}, draw=0.5) == Verdict(Result.ACCEPT, "b")


def test_only_what_draws_by_chance_is_random():
    assert sampled(50).is_random
    assert not sampled(50, "guid").is_random
    assert rules(rule(sample={"percent": 5, "then": "accept", "else": "reject"})).is_random


# ---- hostile values ------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000
DEEP_OBJECT = '{"system":' * 100_000
NESTED: list = []
for _ in range(100_000):
    NESTED = [NESTED]
HOSTILE = {
    "deep": DEEP, "closed": DEEP + "]" * 100_000, "object": DEEP_OBJECT, "nested": NESTED, "number": 7, "float": 1e308,
    "nan": math.nan, "none": None, "list": [1, {"a": []}], "dict": {"system": {"os": 3}}, "huge": "9" * 2_000_000,
    "backtracks": "a" * 100_000 + "!", "nul": "\0" * 1000, "surrogate": "\ud800\udfff", "empty": "", "bool": True,
    "system": '{"system": [[[]]]}', "string": '"system"', "digits": '{"system": ' + "9" * 10_000 + "}",
}  # fmt: skip
ASKED = [
    "ProductName", "Version", "BuildID", "TelemetryEnvironment", "ReleaseChannel", "HangID", "ProcessType", "Comments",
    "Throttleable", "ipc_channel_error", "Android_PackageName", "SubmittedFromInfobar", "PHCKind", "prod", "ver", "guid",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_gets_a_verdict_like_any_other(value):
    every = rules(
        "".join(
            rule(f"r{number}", **case["when"] | ({"key": "guid"} if "key" in case["when"] else {}), result="accept")
            for number, case in enumerate(LANGUAGE)
            if case["when"].get("key") != "*" and case["when"]
        )
    )
    for found in (every, sampled(50, "guid"), *(Rules.parse(PRESETS.read(name), name) for name in PRESETS.names)):
        for name in ASKED:
            annotations = {"ProductName": "Firefox", "ReleaseChannel": "esr", name: value}
            assert decide(found, annotations).result in set(Result) - {Result.CONTINUE}
        assert decide(found, dict.fromkeys(ASKED, value)).result in set(Result) - {Result.CONTINUE}


def test_a_deep_environment_is_no_old_windows():
    for value in (DEEP, DEEP_OBJECT, '{"system": {"os": ' + DEEP + "]" * 100_000 + "}}"):
        found = {"ProductName": "Firefox", "ReleaseChannel": "esr", "TelemetryEnvironment": value}
        assert decide(Rules.parse(PRESETS.read("antenna"), ""), found).rule == "is_alpha_beta_esr"


def test_a_pattern_sees_the_beginning_of_a_value_only():
    found = rules(rule(key="A", matches="x", result="accept"))
    assert decide(found, {"A": "a" * 255 + "x"}).result is Result.ACCEPT
    assert decide(found, {"A": "a" * 256 + "x"}).rule == NO_MATCH


def test_a_search_that_never_ends_drops_no_report_and_is_logged_once(caplog):
    text = rule("hot", key="A", matches="((a|a){9}){9}b", result="fakeaccept") + rule("after", result="reject")
    found = rules(text)
    for _ in range(3):
        began = time.thread_time()
        assert decide(found, {"A": "a" * 256}) == Verdict(Result.DEFER, "after")
        assert time.thread_time() - began < 0.5
    (record,) = caplog.records
    assert record.getMessage().startswith("throttle rules: rule hot: took longer than 0.05 s; ")
    assert decide(found, {"A": "a"}) == Verdict(Result.REJECT, "after")
    assert decide(found, {"A": "a" * 81 + "b"}) == Verdict(Result.FAKEACCEPT, "hot")
    assert decide(rules(rule(**{"not": {"key": "A", "matches": "((a|a){9}){9}b"}}, result="accept")), {"A": "a" * 256}) \
        == Verdict(Result.DEFER, NO_MATCH, 0)  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(ASKED) | st.text(), JSON), st.floats(0, 1, exclude_max=True))
def test_every_report_gets_a_verdict(annotations, draw):
    for name in PRESETS.names:
        verdict = decide(Rules.parse(PRESETS.read(name), name), annotations, draw=draw)
        assert verdict.result is not Result.CONTINUE


@given(st.text() | st.text("[]{}=\"'.\nrulenamkysp0123456789"))
def test_any_text_is_rules_or_told_to_be_none(text):
    try:
        rules(text)
    except RulesError as error:
        assert error.problems


# ---- the file ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def verdict_of(file):
    return decide(file.current(), {}).rule


def test_a_changed_file_is_read_anew(tmp_path, clock):
    path = tmp_path / "rules.toml"
    path.write_text(rule("a", result="accept"))
    file = rules_file(str(path), clock)
    assert verdict_of(file) == "a"
    path.write_text(rule("b", result="accept"))
    clock.now += 0.5
    assert verdict_of(file) == "a", "it is looked at once a second at most"
    clock.now += 0.5
    assert verdict_of(file) == "b"
    clock.now -= 3600
    path.write_text(rule("c", result="accept"))
    assert verdict_of(file) == "c", "a clock that is set back stops nothing"


def test_a_change_that_leaves_the_same_times_behind_is_seen(tmp_path, clock):
    path = tmp_path / "rules.toml"
    path.write_text(rule("a", result="accept"))
    before = path.stat().st_mtime_ns
    file = rules_file(str(path), clock)
    path.write_text(rule("b", result="accept"))
    os.utime(path, ns=(before, before))
    clock.now += 1
    assert verdict_of(file) == "b"


def test_a_file_that_did_not_change_leaves_the_rules(tmp_path, clock):
    path = tmp_path / "rules.toml"
    path.write_text(rule("a", result="accept"))
    file = rules_file(str(path), clock)
    first = file.current()
    clock.now += 10
    assert file.current() is first


WRONG_TEXTS = {
    "no TOML": b"[[rule",
    "a wrong key": rule("b", result="accept", kee="x").encode(),
    "no UTF-8": b"# \xff\n" + rule("b", result="accept").encode(),
    "too large": b"#" * MAX_FILE + b"\n" + rule("b", result="accept").encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("age", [0, 3600])
@pytest.mark.parametrize("data", WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_a_file_that_went_wrong_leaves_the_good_rules_and_is_told_once(tmp_path, clock, caplog, data, age):
    path = tmp_path / "rules.toml"
    path.write_text(rule("a", result="accept"))
    clock.now = path.stat().st_mtime + age
    file = rules_file(str(path), clock)
    assert file.problems == []
    path.write_bytes(data)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            clock.now += 1
            assert verdict_of(file) == "a"
        assert all(problem.startswith(str(path)) for problem in file.problems)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert file.problems[0] in caplog.text
        path.write_text(rule("c", result="accept"))
        clock.now += 1
        assert (verdict_of(file), file.problems) == ("c", [])
    path.write_bytes(data)
    with pytest.raises(RulesError):
        rules_file(str(path), clock)


def test_a_file_that_is_gone_and_comes_back(tmp_path, clock):
    path = tmp_path / "rules.toml"
    path.write_text(rule("a", result="accept"))
    file = rules_file(str(path), clock)
    path.rename(tmp_path / "away")
    clock.now += 1
    assert verdict_of(file) == "a"
    assert "no such file" in file.problems[0]
    (tmp_path / "away").rename(path)
    clock.now += 1
    assert (verdict_of(file), file.problems) == ("a", [])


def test_what_is_no_file_is_told_at_the_start(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "pipe", "no plain file"),
        (tmp_path, "plain file|directory"),
        (tmp_path / "x", "no such"),
    ):
        with pytest.raises(RulesError, match=said):
            rules_file(str(path))
    with pytest.raises(RulesError, match='did you mean "antenna"'):
        rules_file("antena")
    with pytest.raises(RulesError, match="cannot be read"):
        rules_file("a\0b")


@pytest.mark.parametrize("name", PRESETS.names)
def test_a_preset_needs_no_file_and_never_changes(name, clock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("wrong")
    file = rules_file(name, clock)
    first = file.current()
    clock.now += 100
    assert file.current() is first


# ---- the page about it ---------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[4] / "docs" / "throttling.md").read_text()


def first_cells(heading):
    """The code in the first cells of the first table after `heading`."""
    table = re.search(r"(?:^\|.*\n)+", PAGE.partition(heading)[2], re.MULTILINE)[0]
    return [name for row in table.splitlines()[2:] for name in re.findall("`([^`]+)`", row.split("|")[1])]


def test_the_example_of_the_page_is_rules_that_do_what_it_says():
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = rules(example)
    release = {"ProductName": "editor", "Version": "4.0", "ReleaseChannel": "release"}
    assert decide(found, release, draw=0.05) == Verdict(Result.ACCEPT, "release", 10)
    assert decide(found, release, draw=0.5) == Verdict(Result.REJECT, "release", 10)
    assert decide(found, release | {"Comments": "hello"}) == Verdict(Result.ACCEPT, "has_comments")
    assert decide(found, release | {"Version": "3.0"}) == Verdict(Result.REJECT, "too_old")
    assert decide(found, {"ProductName": "viewer"}) == Verdict(Result.REJECT, "unsupported_packagename")
    assert decide(found, {"ProductName": "other"}) == Verdict(Result.REJECT, "unsupported_product")
    assert decide(found, {"ProductName": "editor", "Version": "3.1"}) == Verdict(Result.ACCEPT, "everything_else")
    system = {**release, "ReleaseChannel": "x", "Environment": '{"system": {"build": 9600}}'}
    assert len({decide(found, system | {"guid": str(number)}).rule for number in range(100)}) == 2


def test_the_page_has_every_result_and_key_and_no_other():
    keys = [key for key in language(Lists(frozenset(), {})).keys if key != "unless"]
    assert first_cells("## Results") == ["accept", "defer", "reject", "fakeaccept", "ignore", "continue"]
    assert sorted(first_cells("Everything that a rule says")) == sorted(keys)
    assert sorted(first_cells("Nothing in a rules file")) == sorted(
        ["products", "packages", "minimal_version_for_understanding_refusal", "never_discard", "rule"]
    )


@pytest.mark.parametrize("name", ["antenna", "socorro"])
def test_the_page_has_the_rules_of_the_presets_in_their_order(name):
    assert first_cells(f"\n`{name}` has") == Rules.parse(PRESETS.read(name), name).names

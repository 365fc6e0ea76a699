"""What is wrong with the instances, and what of it is news: cases by table, without EC2 and without a clock."""

from pathlib import Path

import pytest

from lae_monitor.fleet.ec2 import Instance
from lae_monitor.fleet.ec2_compare import GRACE, NEWS, ONCE, STANDING, Change, compare

NOW = 1_800_000_000.0
LONG_AGO = NOW - 86400
REGION = "eu-north-1"


def instance(number="i-1", name="node1", **more):
    usual = {"role": "node", "state": "running", "private": "10.0.0.1", "public": "198.51.100.1", "launched": LONG_AGO}
    return Instance(**{"id": number, "region": REGION, "name": name, **usual, **more})


def seen(*instances, before=None, heard=("node1", "node2"), region=REGION):
    return compare(before, {region: list(instances)}, heard, lambda: NOW)


def findings(comparison):
    return {(finding.kind, finding.host) for finding in comparison.findings}


def changes(comparison):
    return {(change.how, change.finding.kind, change.finding.host) for change in comparison.changes}


FINE = instance()

# what it is about: the last list, the list of now, findings, changes
CASES = {
    "nothing": ([FINE], [FINE], set(), set()),
    "no name": ([instance(name="")], [instance(name="")], {("untagged", "10.0.0.1")}, set()),
    "blank name": ([FINE], [instance(name="  ")], {("untagged", "10.0.0.1")}, {("new", "untagged", "10.0.0.1")}),
    "no role": ([FINE], [instance(role="")], {("untagged", "node1")}, {("new", "untagged", "node1")}),
    "empty roles": ([instance(role=" , ,")], [instance(role=" , ,")], {("untagged", "node1")}, set()),
    "role and name missing differ": (
        [instance(role="", name="")],
        [instance(role="node", name="")],
        {("untagged", "10.0.0.1")},
        {("new", "untagged", "10.0.0.1"), ("over", "untagged", "10.0.0.1")},
    ),
    "tagged at last": ([instance(name="")], [FINE], set(), {("over", "untagged", "10.0.0.1")}),
    "no address either": (
        [instance(name="", private="")],
        [instance(name="", private="")],
        {("untagged", "i-1")},
        set(),
    ),
    "hostile name": ([instance(name="../x")], [instance(name="../x")], {("bad_name", "10.0.0.1")}, set()),
    "stopped": ([FINE], [instance(state="stopped", public="")], {("stopped", "node1")}, {("new", "stopped", "node1")}),
    "stops and is stopped is one finding": (
        [instance(state="stopping", public="")],
        [instance(state="stopped", public="")],
        {("stopped", "node1")},
        set(),
    ),
    "stopped without a role": (
        [instance(role="")],
        [instance(role="", state="stopped", public="")],
        {("untagged", "node1")},
        set(),
    ),
    "runs again, with another public address": (
        [instance(state="stopped", public="198.51.100.1")],
        [instance(launched=NOW - 60, public="198.51.100.2")],
        {("changed_address", "node1"), ("restarted", "node1")},
        {("over", "stopped", "node1"), ("new", "changed_address", "node1"), ("new", "restarted", "node1")},
    ),
    "starts": (
        [instance(state="pending", public="", launched=NOW - 60)],
        [instance(launched=NOW - 60)],
        set(),
        set(),
    ),
    "starts for too long": (
        [instance(state="pending", launched=NOW - GRACE)],
        [instance(state="pending", launched=NOW - GRACE)],
        {("stopped", "node1")},
        set(),
    ),
    "never heard": ([instance(name="node3")], [instance(name="node3")], {("not_reporting", "node3")}, set()),
    "a node no more": (
        [instance(name="node3")],
        [instance(name="node3", role="monitor")],
        set(),
        {("over", "not_reporting", "node3")},
    ),
    "stops before it was heard": (
        [instance(name="node3")],
        [instance(name="node3", state="stopped")],
        {("stopped", "node3")},
        {("new", "stopped", "node3")},
    ),
    "monitors are not heard": (
        [instance(name="mon", role="monitor")],
        [instance(name="mon", role="monitor")],
        set(),
        set(),
    ),
    "another role": ([instance(name="x", role="node-to-be")], [instance(name="x", role="node-to-be")], set(), set()),
    "both roles": (
        [instance(name="both", role="monitor, node")],
        [instance(name="both", role="monitor, node")],
        {("not_reporting", "both")},
        set(),
    ),
    "two of one name": (
        [FINE, instance("i-2")],
        [FINE, instance("i-2")],
        {("duplicate_name", "node1")},
        set(),
    ),
    "a third of one name": (
        [FINE, instance("i-2")],
        [FINE, instance("i-2"), instance("i-3", launched=NOW)],
        {("duplicate_name", "node1")},
        {("new", "duplicate_name", "node1"), ("over", "duplicate_name", "node1"), ("new", "new", "node1")},
    ),
    "one of two of one name goes": (
        [FINE, instance("i-2")],
        [FINE],
        {("gone", "node1")},
        {("new", "gone", "node1"), ("over", "duplicate_name", "node1")},
    ),
    "new": ([FINE], [FINE, instance("i-2", "node2", launched=NOW - GRACE + 1)], set(), {("new", "new", "node2")}),
    "unknown": (
        [FINE],
        [FINE, instance("i-2", "node2", launched=NOW - GRACE)],
        {("unknown", "node2")},
        {("new", "unknown", "node2")},
    ),
    "missing": ([FINE, instance("i-2", "node2")], [FINE], {("gone", "node2")}, {("new", "gone", "node2")}),
    "terminated": ([FINE], [instance(state="terminated", private="")], {("gone", "node1")}, {("new", "gone", "node1")}),
    "shutting down": ([FINE], [instance(state="shutting-down")], {("gone", "node1")}, {("new", "gone", "node1")}),
    "terminated long ago": ([], [instance(state="terminated")], set(), set()),
    "what is gone is not also over": (
        [instance(state="stopped", public="")],
        [instance(state="terminated")],
        {("gone", "node1")},
        {("new", "gone", "node1")},
    ),
    "replaced": (
        [FINE],
        [instance(state="terminated"), instance("i-2", launched=NOW)],
        {("replaced", "node1")},
        {("new", "replaced", "node1")},
    ),
    "replaced, the old one forgotten": (
        [FINE],
        [instance("i-2")],
        {("replaced", "node1")},
        {("new", "replaced", "node1")},
    ),
    "another of the same name is no replacement": (
        [FINE],
        [FINE, instance("i-2")],
        {("duplicate_name", "node1"), ("unknown", "node1")},
        {("new", "duplicate_name", "node1"), ("new", "unknown", "node1")},
    ),
    "nameless ones replace nobody": (
        [instance(name="")],
        [instance("i-2", "", launched=NOW, private="10.0.0.2")],
        {("gone", "10.0.0.1"), ("untagged", "10.0.0.2")},
        {("new", "gone", "10.0.0.1"), ("new", "new", "10.0.0.2"), ("new", "untagged", "10.0.0.2")},
    ),
    "renamed": ([FINE], [instance(name="node2")], {("renamed", "node2")}, {("new", "renamed", "node2")}),
    "private address": (
        [FINE],
        [instance(private="10.0.0.9")],
        {("changed_address", "node1")},
        {("new", "changed_address", "node1")},
    ),
    "public address taken away": (
        [FINE],
        [instance(public="")],
        {("changed_address", "node1")},
        {("new", "changed_address", "node1")},
    ),
    "restarted": ([FINE], [instance(launched=NOW - 60)], {("restarted", "node1")}, {("new", "restarted", "node1")}),
}


@pytest.mark.parametrize(("before", "now", "wanted", "news"), CASES.values(), ids=CASES)
def test_case(before, now, wanted, news):
    last = seen(*before).known
    found = seen(*now, before=last)
    assert findings(found) == wanted
    assert changes(found) == news
    assert len(found.findings) == len(wanted), "each once"


@pytest.mark.parametrize("name", CASES)
def test_the_same_again_is_no_news_and_what_is_told_once_is_not_told_twice(name):
    before, now, *_ = CASES[name]
    found = seen(*now, before=seen(*before).known)
    again = seen(*now, before=found.known)
    assert again.changes == []
    assert findings(again) == {(kind, host) for kind, host in findings(found) if kind in STANDING}
    assert again.cleared == (bool(found.findings) and not again.findings)
    third = seen(*now, before=again.known)
    assert (third.findings, third.changes, third.cleared, third.known) == (again.findings, [], False, again.known)


def test_the_first_list_begins_with_one_piece_of_news_and_says_what_is_wrong():
    found = compare(None, {"a": [FINE, instance("i-2", "node3", launched=LONG_AGO)], "b": []}, ["node1"], lambda: NOW)
    assert findings(found) == {("not_reporting", "node3")}
    ((how, begins),) = found.changes
    assert (how, begins.kind, begins.host, begins.text) == (
        "new", "begins", "", "the list of EC2 instances begins: 2 in a, 0 in b",
    )  # fmt: skip
    assert not found.cleared


def test_a_region_that_is_not_asked_stays_as_it_was_and_one_more_begins():
    first = compare(None, {"a": [instance(state="stopped")], "b": [instance("i-2", "node2")]}, ["node2"], lambda: NOW)
    alone = compare(first.known, {"b": [instance("i-2", "node2")]}, ["node2"], lambda: NOW)
    assert (alone.findings, alone.changes, alone.cleared) == ([], [], False)
    assert alone.known == first.known
    third = compare(
        alone.known, {"b": [instance("i-2", "node2")], "c": [instance("i-3", "x", role="")]}, ["node2"], lambda: NOW
    )
    assert {change.finding.kind for change in third.changes} == {"begins"}
    assert {finding.kind for finding in third.findings} == {"untagged"}
    assert sorted(third.known.regions) == ["a", "b", "c"]


def test_one_name_in_two_regions_is_a_duplicate():
    found = compare(None, {"a": [FINE], "b": [instance("i-2", region="b")]}, ["node1"], lambda: NOW)
    (duplicate,) = found.findings
    assert (duplicate.kind, duplicate.regions, duplicate.instances) == ("duplicate_name", ("b", REGION), ("i-1", "i-2"))


def test_addresses_of_what_is_stopped_are_remembered():
    last = seen(FINE).known
    stopped = seen(instance(state="stopped", public="", launched=LONG_AGO), before=last)
    assert findings(stopped) == {("stopped", "node1")}
    pending = seen(instance(state="pending", public="", launched=NOW), before=stopped.known)
    assert ("changed_address", "node1") not in findings(pending)
    running = seen(instance(public="198.51.100.7", launched=NOW), before=pending.known)
    (moved,) = [finding for finding in running.findings if finding.kind == "changed_address"]
    assert moved.text == "i-1: public 198.51.100.1 became 198.51.100.7"


def test_who_is_heard_at_last_is_over():
    last = seen(instance(name="node3")).known
    found = seen(instance(name="node3"), before=last, heard=["node3"])
    assert (found.findings, changes(found), found.cleared) == ([], {("over", "not_reporting", "node3")}, True)


def test_what_happens_in_two_runs_in_a_row_is_told_in_both():
    last = seen(FINE).known
    for launched in (NOW - 120, NOW - 60):
        found = seen(instance(launched=launched), before=last)
        assert changes(found) == {("new", "restarted", "node1")}
        last = found.known


def test_all_clear_comes_once_and_names_what_was_told_once():
    last = seen(FINE, instance("i-2", "node2")).known
    gone = seen(FINE, before=last)
    clear = seen(FINE, before=gone.known)
    assert (clear.cleared, [finding.kind for finding in clear.faded]) == (True, ["gone"])
    assert not seen(FINE, before=clear.known).cleared


def test_no_text_has_a_character_that_does_anything():
    name = "\x1b[31m" + "a" * 250 + "\n../\u202e\x9b"
    role = "node\x1b]0;x\x07,\u202enode"
    found = seen(instance(name=name, role=role, state="stopped"), before=seen(instance(name="node1")).known)
    assert {finding.kind for finding in found.findings} >= {"bad_name", "stopped"}
    for finding in found.findings:
        assert finding.text.isprintable() and finding.text.isascii(), finding
        assert len(finding.text) < 300


def test_many_of_one_name_are_one_short_text():
    found = seen(*(instance(f"i-{number}") for number in range(100)))
    (finding,) = found.findings
    assert (len(finding.instances), finding.text.endswith(", ..."), len(finding.text) < 200) == (100, True, True)


def test_every_kind_occurs_above_and_is_documented():
    kinds = {kind for _, _, wanted, _ in CASES.values() for kind, _ in wanted}
    assert kinds == {*STANDING, *ONCE}
    news = {kind for *_, changed in CASES.values() for _, kind, _ in changed}
    assert news >= {*STANDING, *ONCE, *NEWS} - {"begins", "bad_name", "not_reporting"}
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    assert [kind for kind in kinds if f"| `{kind}` |" not in page] == []
    assert f"more than {GRACE / 60:.0f} minutes ago" in page
    assert isinstance(found := seen(FINE).changes[0], Change) and found.finding.kind == "begins"

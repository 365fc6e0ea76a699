"""`lae-monitor crashes throttle-test` says what rules would have decided about stored crashes, and changes nothing."""

import json
import os
import subprocess
import sys
import time

import pytest
from command_line import lae_monitor

from lae_monitor.core.names import new_crash_id
from lae_monitor.kinds.crashes.container import Writer
from lae_monitor.kinds.crashes.report import Report

RANDOM = '[[rule]]\nname = "half"\nsample = {percent = 50, then = "accept", else = "reject"}\n'
DAY = 86_400.0


@pytest.fixture
def throttle_test(tmp_path):
    """Runs the command with a configuration whose archive is `tmp_path / "archive"`."""
    config = tmp_path / "lae-monitor.toml"
    roots = json.dumps([str(tmp_path / "archive"), str(tmp_path / "other")])
    config.write_text(
        f'[state]\npath = "{tmp_path}"\n[archive]\nroots = {roots}\n[gatherers.crashes]\nrules = "antenna"\n'
    )

    def run(*arguments):
        done = lae_monitor("crashes", "throttle-test", "--config", str(config), *map(str, arguments))
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def store(tmp_path):
    """Puts a crash into an archive, as the collector does; returns its id and file."""

    def put(age=0.0, root="archive", **annotations):
        received = time.time() - age
        crash_id = new_crash_id(received)
        report = Report()
        report.merge(json.dumps(annotations).encode())
        folder = tmp_path / root / "crashes" / f"20{crash_id[-6:]}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{crash_id}.zip"
        with path.open("wb") as file:
            writer = Writer(file.write, received)
            writer.add("raw_crash.json", report.raw_crash(crash_id, received, {"peer": "127.0.0.1"}))
            writer.finish()
        os.utime(path, (received, received))
        return crash_id, path

    return put


def answer(done):
    code, out, err = done
    assert code in {0, 1}, err
    return json.loads(out)


def test_the_archive_is_counted_by_rule_and_result(throttle_test, store):
    comment, _ = store(ProductName="Firefox", Comments="x")
    store(ProductName="Firefox", Comments="y", root="other", age=DAY)
    other, _ = store(ProductName="Other")
    store(ProductName="Other", age=8 * DAY)
    found = answer(throttle_test("--json"))
    assert (found["rules"], found["crashes"], found["unread"]) == ("antenna", 3, [])
    assert found["counts"] == [
        {"rule": "unsupported_product", "crashes": 1, "results": {"reject": 1}, "example": other, "share": 0.3333},
        {"rule": "has_comments", "crashes": 2, "results": {"accept": 2}, "example": comment, "share": 0.6667},
    ]
    assert "is_nightly" in found["never"]
    assert answer(throttle_test("--json", "--since", "30d"))["crashes"] == 4
    assert answer(throttle_test("--json", "--since", "2h"))["crashes"] == 2


def test_the_table_has_a_line_for_each_rule_that_decided(throttle_test, store):
    crash_id, _ = store(ProductName="Firefox", Comments="x")
    code, out, err = throttle_test("--each")
    assert (code, err) == (0, f"Next: lae-monitor report show {crash_id}\n")
    lines = out.splitlines()
    assert lines[0].split() == [crash_id, "accept", "has_comments"]
    assert lines[2].split() == ["rule", "accept", "share", "example"]
    assert lines[3].split() == ["has_comments", "1", "100.0%", crash_id]
    assert lines[4].startswith("decided about none: has_old_buildid, ")
    assert lines[5].startswith("1 crashes by antenna; random samples drawn with --seed ")


def test_a_limit_takes_those_that_came_last(throttle_test, store):
    ids = [store(ProductName="Firefox", age=age)[0] for age in (3 * DAY, 0.0, 1.0, DAY)]
    found = answer(throttle_test("--json", "--each", "--limit", "2"))
    assert [one["crash_id"] for one in found["each"]] == [ids[1], ids[2]]


def test_given_files_and_folders_are_read_whatever_their_age(throttle_test, store, tmp_path):
    _, path = store(ProductName="Firefox", age=100 * DAY)
    store(ProductName="Firefox", root="elsewhere", age=50 * DAY)
    store(ProductName="Firefox")
    assert answer(throttle_test("--json", path, tmp_path / "elsewhere"))["crashes"] == 2
    assert answer(throttle_test("--json", path, tmp_path / "elsewhere", "--since", "60d"))["crashes"] == 1


def test_a_build_is_as_old_as_it_was_on_receipt(throttle_test, store):
    build = time.strftime("%Y%m%d000000", time.gmtime(time.time() - 800 * DAY))
    _, new = store(ProductName="Firefox", BuildID=build)
    _, old = store(ProductName="Firefox", BuildID=build, age=100 * DAY)
    assert [row["rule"] for row in answer(throttle_test("--json", new))["counts"]] == ["has_old_buildid"]
    assert [row["rule"] for row in answer(throttle_test("--json", old))["counts"]] == ["accept_everything"]


def test_annotations_that_the_collector_replaced_are_those_of_the_client(throttle_test, store, tmp_path):
    (tmp_path / "r.toml").write_text('[[rule]]\nname = "v"\nkey = "version"\nequals = "7"\nresult = "defer"\n')
    _, path = store(version="7")
    assert answer(throttle_test("--json", "--rules", tmp_path / "r.toml", path))["counts"][0]["results"] == {"defer": 1}


def test_a_raw_crash_of_antenna_or_socorro_will_do(throttle_test, tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps({"ProductName": "Fennec", "uuid": "x", "submitted_timestamp": "2020-01-01T00:00:00+00:00"})
    )
    (tmp_path / "s.json").write_text('{"ProductName": "Firefox", "HangID": "1", "legacy_processing": 0}')
    found = answer(
        throttle_test(
            "--json", "--rules", "socorro", "--raw-crash", tmp_path / "a.json", "--raw-crash", tmp_path / "s.json"
        )
    )
    assert [(row["rule"], row["results"]) for row in found["counts"]] == [
        ("hang_of_browser", {"ignore": 1}),
        ("fennec", {"accept": 1}),
    ]
    assert found["next"] == 'to put them in force: rules = "socorro" in [gatherers.crashes]'


def test_a_seed_draws_the_same_sample_of_any_selection(throttle_test, store, tmp_path):
    (tmp_path / "r.toml").write_text(RANDOM)
    ids = {store(ProductName="Firefox", age=number)[0] for number in range(40)}
    first = answer(throttle_test("--json", "--each", "--rules", tmp_path / "r.toml"))
    assert {row["crashes"] for row in first["counts"]} == {40}
    assert 0 < first["counts"][0]["results"]["accept"] < 40, f"seed {first['seed']}"
    again = answer(
        throttle_test("--json", "--each", "--rules", tmp_path / "r.toml", "--seed", first["seed"], "--limit", 10)
    )
    assert {one["crash_id"] for one in first["each"]} == ids
    assert again["each"] == first["each"][:10]
    code, out, _ = throttle_test("--rules", tmp_path / "r.toml", "--seed", "5")
    assert (code, "drawn with --seed 5" in out) == (0, True)
    assert answer(throttle_test("--json", "--rules", "accept-all"))["seed"] is None


def test_what_cannot_be_read_is_named_and_the_rest_counted(throttle_test, store, tmp_path):
    store(ProductName="Firefox")
    _, broken = store(ProductName="Firefox")
    broken.write_bytes(b"no zip \x1b[2J")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 200_000)
    code, out, _ = throttle_test()
    assert code == 1
    assert f"not read: {broken}: " in out
    assert "\n1 crashes by antenna" in out
    code, out, _ = throttle_test("--json", "--raw-crash", tmp_path / "list.json", "--raw-crash", tmp_path / "deep.json")
    assert (code, len(json.loads(out)["unread"])) == (1, 2)


def test_nothing_found_says_what_to_do(throttle_test):
    code, out, err = throttle_test()
    assert (code, out) == (1, "")
    assert err.startswith("lae-monitor: there is no crash since 20")
    assert "Next: a longer time: --since 30d" in err


def test_wrong_rules_are_78_and_a_wrong_time_is_2(throttle_test, tmp_path):
    (tmp_path / "r.toml").write_text('[[rule]]\nname = "a"\nkee = "x"\nresult = "acept"\n')
    code, out, err = throttle_test("--rules", tmp_path / "r.toml")
    assert (code, out) == (78, "")
    assert 'rule a: kee: unknown key, did you mean "key"?' in err
    assert "rule a: result: is one of accept" in err
    assert "did you mean" in throttle_test("--rules", "socoro")[2]
    code, _, err = throttle_test("--since", "yesterday")
    assert (code, "--since yesterday" in err) == (2, True)


def test_rules_that_are_named_need_no_configuration(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    command = [sys.executable, "-c", "from lae_monitor.cli import main; main()", "crashes", "throttle-test", "--rules"]
    environment = {**os.environ, "LAE_MONITOR_CONFIG": str(tmp_path / "missing")}
    done = subprocess.run(
        [*command, "accept-all", "--raw-crash", str(tmp_path / "a.json")],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_changed(throttle_test, store, tmp_path):
    def state():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file()}

    store(ProductName="Firefox")
    before = state()
    assert throttle_test()[0] == 0
    assert state() == before

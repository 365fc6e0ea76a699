"""search, host and report on a terminal: what they print, how they end, and what they say to do next."""

import json
import zipfile

import pytest
from running import NOW
from shelf import event

SICK, SILENT = "storage03.lae.example", "ml5.hpc.uio.no"


def test_a_search_prints_a_line_an_event_and_says_what_to_do_next(cli, site):
    said = cli("search", "disk", "full", "cluster:lae")
    rows = site.get("/api/search", q="disk full cluster:lae")["rows"]
    lines = said.out.splitlines()
    assert said.code == 0
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(row["time"][:10] + " " + row["time"][11:19] + "Z  " + row["level"])
        assert line.endswith("  " + row["id"])
    assert f"Next: lae-monitor report show {rows[0]['id']}" in said.err
    assert f"{len(rows)} of " in said.err


def test_json_is_what_the_api_answers(cli, site):
    said = cli("search", "--json", "kind:crash cluster:lae", "--limit", "3")
    answer = json.loads(said.out)
    expected = site.get("/api/search", q="kind:crash cluster:lae", limit=3)
    assert {**answer, "seconds": 0} == {**expected, "seconds": 0}
    assert said.err == ""
    assert json.loads(cli("host", "list", "--json").out) == site.get("/api/hosts")
    crash = answer["rows"][0]["id"]
    assert json.loads(cli("report", "show", crash, "--json").out) == site.get(f"/api/reports/{crash}")
    page = json.loads(cli("--json", "host", "show", SICK, "--since", "2d").out)
    assert page["events"] == site.get(f"/host/lae/{SICK}.json", q="since:2d")["events"]


def test_nothing_found_is_exit_1_with_a_hint(cli):
    said = cli("search", "nothing-like-it")
    assert (said.code, said.out) == (1, "")
    assert "Next: " in said.err
    assert json.loads(cli("search", "--json", "nothing-like-it").out)["rows"] == []
    assert cli("search", "--json", "nothing-like-it").code == 1
    assert "attribute's name" in cli("search", "T09:44").err


def test_a_mistake_is_exit_2_and_pointed_at(cli):
    said = cli("search", "disk", "levle:error")
    assert (said.code, said.out) == (2, "")
    lines = said.err.splitlines()
    assert lines[0] == "    disk levle:error"
    assert lines[1] == "         ^^^^^"
    assert 'did you mean "level:"' in said.err
    assert json.loads(cli("search", "--json", "levle:error").out)["error"].startswith("bad_query")
    assert cli("tail", "levle:error").code == 2
    assert cli("host", "show", SICK, "--since", "tomorrow").code == 2
    assert cli("search", "x", "--limit", "0").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["-full", "kind:incident", "--limit", "2"], ["--limit", "2", "kind:incident", "-full"], ["--limit=2", "-full", "kind:incident"],
        ["--limit", "2", "--", "-full", "kind:incident"], ["-full", "kind:incident", "--json", "--limit", "2"], ["-host:x", "-full", "kind:incident"],
    ],
)  # fmt: skip
def test_a_minus_is_a_term_wherever_it_stands(cli, arguments):
    said = cli("search", *arguments)
    assert said.code == 0
    assert "incident" in said.out
    assert "disk full" not in said.out


def test_what_hosts_send_cannot_drive_the_terminal(cli, site, place):
    name = "\x1b[2J\x07\u202e\x9btitle"
    nasty = f"{name}\r\nsecond line"
    site.put(
        event(
            place,
            f"h{name}",
            time=NOW,
            title=nasty,
            text=nasty,
            id=f"{place}{name}",
            attrs={nasty: nasty},
            group=nasty,
        )
    )
    for arguments in (["search", f"cluster:{place}"], ["host", "list", "--cluster", place], ["report", "show", f"{place}{name}"],
                      ["host", "show", f"h{name}", "--cluster", place]):  # fmt: skip
        said = cli(*arguments)
        assert said.code == 0, said
        assert not set("\x1b\x07\u202e\x9b\r") & set(said.out + said.err)
        assert "\nsecond line" not in said.out  # what follows a newline must not look like a line of ours
        said = cli(*arguments, "--json")
        assert not set("\x1b\x07\u202e\x9b\r") & set(said.out)
    assert len(cli("search", f"cluster:{place}").out.splitlines()) == 1
    said = cli("host", "show", f"no{name}", "--cluster", place)
    assert said.code == 1
    assert not set("\x1b\x07\u202e") & set(said.err)


def test_levels_are_coloured_unless_no_color_is_set(cli, monkeypatch):
    assert "\x1b[35m" in cli("search", "disk full level:critical", color=True).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli("search", "disk full level:critical", color=True).out
    assert "\x1b" not in cli("host", "list", color=True).out
    assert "\x1b" not in cli("host", "show", SICK, color=True).out


def test_hosts_are_listed_with_a_sparkline_and_the_silent_marked(cli):
    said = cli("host", "list")
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert list(lines)[1] == SICK
    assert " silent " in lines[SILENT]
    assert "█" in lines[SICK]
    assert "critical" in lines[SICK]
    assert f"Next: lae-monitor host show {SICK}" in said.err
    assert cli("host", "list", "--cluster", "nowhere").code == 1


def test_a_host_is_shown_as_text_with_what_is_missing(cli):
    said = cli("host", "show", SICK)
    assert said.code == 0
    assert said.out.splitlines()[0].startswith(f"{SICK}  lae  last heard 2026-11-22 11:")
    assert "disk full: no space left on device" in said.out
    assert "lae-monitor report show incident-" in said.err
    hpc = cli("host", "show", "ml2.hpc.uio.no")
    assert "no samples since 2026-11-21" in hpc.out
    assert "56 cores" in hpc.out
    assert "--routine" in hpc.err
    assert "4 processes of 4 users" in cli("host", "show", "ml2.hpc.uio.no", "--routine", "--limit", "5").out


def test_a_cluster_that_is_not_there_is_said(cli):
    said = cli("host", "list", "--cluster", "nowhere")
    assert said.code == 1
    assert "no host of cluster nowhere" in said.err
    assert "Next: lae-monitor host list" in said.err


def test_a_host_that_is_not_there_or_twice_is_said(cli, site, place):
    said = cli("host", "show", "nobody")
    assert said.code == 1
    assert "lae-monitor host list" in said.err
    site.put(event(place, f"same-{place}", time=NOW), event(place + "x", f"same-{place}", time=NOW))
    said = cli("host", "show", f"same-{place}")
    assert said.code == 2
    assert "--cluster" in said.err
    assert cli("host", "show", f"same-{place}", "--cluster", place).code == 0


def test_a_report_is_shown_saved_and_taken_apart(cli, site, tmp_path):
    row = site.get("/api/search", q="kind:crash cluster:lae ProductName:Firefox", limit=1)["rows"][0]
    crash = row["id"]
    shown = cli("report", "show", crash)
    assert shown.code == 0
    assert "ProductName: Firefox" in shown.out
    assert row["attrs"]["upload_file_minidump.sha256"] in shown.out
    assert f"Next: lae-monitor report save {crash}" in shown.err
    stored = next((site.folder / "archive").glob(f"crashes/*/{crash}.zip")).read_bytes()
    assert cli("report", "save", crash).code == 0
    assert (tmp_path / f"{crash}.zip").read_bytes() == stored
    again = cli("report", "save", crash)
    assert again.code == 2
    assert "there already" in again.err
    target = tmp_path / "elsewhere.zip"
    target.write_bytes(b"old")
    assert cli("report", "save", crash, "-o", str(target)).code == 0
    assert target.read_bytes() == stored
    assert cli("report", "save", crash, "--dump", "upload_file_minidump", "-o", "d.dmp").code == 0
    with zipfile.ZipFile(target) as archive:
        assert (tmp_path / "d.dmp").read_bytes() == archive.read("upload_file_minidump")
    missing = cli("report", "save", crash, "--dump", "nix", "-o", "nix.dmp")
    assert missing.code == 1
    assert "upload_file_minidump" in missing.err
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"d.dmp", f"{crash}.zip", "elsewhere.zip", "lae.toml", "state"}


def test_an_id_that_nobody_has_is_exit_1(cli):
    for command in ("show", "save"):
        said = cli("report", command, "no/such:1")
        assert said.code == 1
        assert "no report has this id" in said.err
    said = cli("report", "retry", "no-such")
    assert said.code == 1


def test_what_is_in_quarantine_is_read_again(cli, site):
    said = cli("report", "retry", "known")
    assert said.code == 0
    assert site.retried[-1] == "known"
    assert "Next: " in said.out


def test_a_report_whose_bytes_are_gone_is_not_saved_as_something_else(cli, site, place, tmp_path):
    site.put(event(place, id=f"{place}-gone", file="crashes/20200101/gone.zip", length=10, time=NOW))
    assert cli("report", "save", f"{place}-gone").code == 1
    assert not (tmp_path / "gone.zip").exists()


def test_a_store_that_does_not_answer_is_try_again(cli, site, monkeypatch):
    from lae_monitor.store import Store, StoreError

    async def broken(self, sql, parameters=None, *, seconds=30.0):
        raise StoreError("gone", 210)

    monkeypatch.setattr(Store, "query", broken)
    said = cli("search", "x")
    assert said.code == 75
    assert "lae-monitor store status" in said.err


def test_each_command_explains_itself_with_examples(cli):
    for command in (
        ["search"],
        ["tail"],
        ["host", "list"],
        ["host", "show"],
        ["report", "show"],
        ["report", "save"],
        ["report", "retry"],
    ):
        said = cli(*command, "--help")
        assert said.code == 0
        assert f"lae-monitor {' '.join(command)}" in said.out.partition("\n")[2]

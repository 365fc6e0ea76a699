"""`config new` writes what loads to the defaults; `config explain` says what a key means, is, and why."""

import json
import os
import stat
import tomllib

import pytest
from click.testing import CliRunner

from lae_monitor.cli.group import top
from lae_monitor.config import Settings, load
from lae_monitor.config.describe import describe, effective, toml
from lae_monitor.config.explain import explain, new
from lae_monitor.config.keys import all_sections, keys
from lae_monitor.config.load import load_with_origins
from lae_monitor.kinds import KINDS


def run(*arguments, **environ):
    return CliRunner(env={"NO_COLOR": "1", **environ}).invoke(top, [str(argument) for argument in arguments])


def uncommented(text):
    return "\n".join(
        line.removeprefix("#") if line[:1] == "#" and line[1:2] not in {"", " "} else line for line in text.split("\n")
    )


# ---- config new ----------------------------------------------------------------------------------------------------


def test_the_new_file_loads_to_the_defaults_as_it_is_and_with_every_key_in_force(tmp_path):
    defaults = list(describe(load(None, KINDS, {})))
    file = tmp_path / "a.toml"
    for text in (new(KINDS), uncommented(new(KINDS))):
        file.write_text(text)
        assert list(describe(load(file, KINDS, {}))) == defaults
    everything = load_with_origins(file, KINDS, {}).origins
    assert set(everything) == {key.dotted for key in keys(all_sections(KINDS))}


def test_the_new_file_explains_every_key():
    text = " ".join(new(KINDS).replace("\n# ", " ").split())
    for key in keys(all_sections(KINDS)):
        assert key.description, f"{key.dotted} has no description"
        assert " ".join(key.description.split()) in text
    assert tomllib.loads(new(KINDS)).keys() == {
        "fleet",
        "state",
        "archive",
        "store",
        "web",
        "retention",
        "alerts",
        "log",
        "gatherers",
    }


def test_it_is_printed_or_written_and_never_over_an_existing_file(tmp_path):
    path = tmp_path / "a.toml"
    printed = run("config", "new")
    assert (printed.exit_code, printed.stdout) == (0, new(KINDS))
    written = run("config", "new", "--path", path)
    assert written.exit_code == 0
    assert f"Next: lae-monitor check config --config {path}" in written.stdout
    assert path.read_text() == new(KINDS)
    assert not stat.S_IMODE(path.stat().st_mode) & 0o022

    path.write_text("mine")
    again = run("config", "new", "--path", path)
    assert again.exit_code == 2
    assert "stays as it is" in again.stderr
    assert path.read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert run("config", "new", "--path", tmp_path / "link").exit_code == 2
    assert not (tmp_path / "target").exists()
    assert run("config", "new", "--path", tmp_path / "no" / "a.toml").exit_code == 69


# ---- values as they are written ------------------------------------------------------------------------------------


def test_every_value_is_written_as_toml_that_gives_it_again(loaded):
    lines = [
        'fleet.inventory = {"10.0.0.7" = "node1", "::1" = "b"}',
        'archive.roots = ["/a b", "/c\\"d\\\\e", "/ü\\u007f\\t"]',
        'archive.hot = "0.3333s"',
        'retention.logs = "90m"',
        'retention.sonar = "2y"',
        'retention.stats = "250ms"',
        "store.memory = 1500",
    ]
    settings = loaded("\n".join(lines))
    again = loaded("\n".join(f"{dotted} = {toml(value)}" for dotted, value in effective(settings)))
    assert dict(effective(again)) == dict(effective(settings))
    assert 'retention.stats = "250ms"' in describe(settings)
    assert 'store.memory = "1500 B"' in describe(settings)


def test_what_is_logged_at_start_shows_no_secret(loaded):
    furl = "pb://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@127.0.0.1:1/notsoswissnumber"
    settings = loaded(f"[gatherers.incidents]\nlocation = '{furl}'")
    assert "notsoswissnumber" not in "\n".join(describe(settings))
    loaded_again = load_with_origins(settings.source, KINDS, {})
    (explained,) = explain("gatherers.incidents.location", KINDS, loaded_again)
    assert "notsoswissnumber" not in explained.as_text()
    assert "notsoswissnumber" not in json.dumps(explained.as_json())


def test_a_gatherer_logs_its_own_section_and_no_other_kinds(loaded):
    lines = list(describe(loaded(""), gatherer="sonar"))
    assert any(line.startswith("gatherers.sonar.") for line in lines)
    assert not any(line.startswith("gatherers.crashes.") for line in lines)
    assert any(line.startswith("state.path") for line in lines)


# ---- config explain ------------------------------------------------------------------------------------------------


def test_a_key_is_explained_with_its_value_and_where_it_comes_from(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("gatherers.sonar.max_body = '1 KiB'")
    found = run("config", "explain", "gatherers.sonar.max_body", "--config", file)
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "gatherers.sonar.max_body",
        "  largest body",
        '  type:      a size with a unit, such as "25 MiB" or "1.5 GB"',
        '  default:   "16 MiB"',
        "  variable:  LAE_MONITOR__GATHERERS__SONAR__MAX_BODY",
        f'  now:       "1 KiB"   (from {file})',
    ]


def test_json_has_every_key_with_type_default_value_and_origin(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("store.readers = 5")
    found = run("--json", "config", "explain", "--config", file, LAE_MONITOR__FLEET__NAME="x")
    answer = {one["key"]: one for one in json.loads(found.stdout)["keys"]}
    assert set(answer) == {key.dotted for key in keys(all_sections(KINDS))}
    assert (answer["store.readers"]["value"], answer["store.readers"]["from"]) == ("5", str(file))
    assert (answer["fleet.name"]["value"], answer["fleet.name"]["from"]) == ('"x"', "LAE_MONITOR__FLEET__NAME")
    assert (answer["web.listen"]["default"], answer["web.listen"]["from"]) == ('"127.0.0.1:8642"', "the default")
    assert answer["archive.roots"]["value"] == '["/var/lib/lae-monitor/archive"]'


def test_a_section_is_all_its_keys(tmp_path):
    for name in ("retention", "[retention]", " retention "):
        found = run("config", "explain", name)
        assert [line for line in found.stdout.splitlines() if line[:1].strip()] == [
            f"retention.{field}" for field in ("logs", "stats", "max_share", "crashes", "incidents", "sonar")
        ]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("store.mem", '"memory"'),
        ("sonar", "gatherers.sonar or retention.sonar"),
        ("web.lisen", '"listen"'),
        ("x.y", "known: "),
    ],
)
def test_an_unknown_key_names_the_nearest_and_exits_2(wrong, near):
    found = run("config", "explain", wrong)
    assert (found.exit_code, found.stdout) == (2, "")
    assert f"{wrong}: unknown key" in found.stderr
    assert near in found.stderr


def test_keys_are_explained_even_while_the_file_is_wrong(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("web.listen = 5")
    found = run("config", "explain", "web.listen", "--config", file)
    assert found.exit_code == 78
    assert "address and port" in found.stdout
    assert "now:" not in found.stdout
    assert "web.listen: wants an address" in found.stderr


def test_the_defaults_are_those_of_the_structs():
    assert load(None, KINDS, {}).state == Settings().state
    assert "LAE_MONITOR__STATE__PATH" not in os.environ

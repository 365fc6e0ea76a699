"""A kind that is one folder and one line is gathered, moved, searched, shown, retired, and missed when silent."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import spine
from beacons import BEACONS
from monitor import await_that, free_ports

from lae_monitor.alerts import silence
from lae_monitor.alerts.silence import Heard, Stored
from lae_monitor.cli.group import commands
from lae_monitor.cli.run import companions_of
from lae_monitor.config import load
from lae_monitor.core.kind import Kinds, SearchField
from lae_monitor.core.time import DAY, HOUR, format_time, wall_clock
from lae_monitor.demo import stage
from lae_monitor.demo.announcement import announcement
from lae_monitor.demo.part import happenings, parts_of
from lae_monitor.demo.story import Story
from lae_monitor.kinds import KINDS
from lae_monitor.mover.ages import rules_of
from lae_monitor.mover.retention import Retention
from lae_monitor.query.decisions import ID_LENGTH, group_id, renamed
from lae_monitor.store.schema import tables_of

PROGRAM = [sys.executable, str(Path(__file__).parent / "with_beacons.py")]
ALL = Kinds((*KINDS, BEACONS))


class Fleet:
    """Gatherer and serve, each a process."""

    def __init__(self, folder):
        self.web, self.port = free_ports(2)
        self.config = folder / "lae.toml"
        self.config.write_text(
            f'[state]\npath = "{folder}/state"\n[web]\nlisten = "127.0.0.1:{self.web}"\n'
            f'[retention]\nbeacons = "9d"\n[gatherers.beacons]\nlisten = "127.0.0.1:{self.port}"\n'
        )
        self.log = folder / "log"
        self.passwords = {}

    def start(self, *arguments):
        with self.log.open("ab") as log:
            return subprocess.Popen([*PROGRAM, "--config", self.config, *arguments], stdout=log, stderr=log)

    def run(self, *arguments):
        return subprocess.run(
            [*PROGRAM, "--config", self.config, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    def json(self, *arguments):
        return json.loads(self.run("--json", *arguments).stdout)

    def send(self, ship, line):
        url = f"http://127.0.0.1:{self.port}/beacon"
        user = b64encode(f"{ship}:{self.passwords.get(ship)}".encode()).decode()
        try:
            asked = urllib.request.Request(url, line.encode(), {"Authorization": f"Basic {user}"}, method="POST")
            with urllib.request.urlopen(asked) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}") as answer:
            return answer.read().decode()

    def is_up(self, port):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/__lbheartbeat__").close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("beacons"))
    with ExitStack() as stack:
        for command in (("gather", "beacons"), ("serve",)):
            process = fleet.start(*command)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        for port in (fleet.port, fleet.web):
            await_that(lambda port=port: fleet.is_up(port), fleet.log.read_text)
        yield fleet


@pytest.fixture(scope="module")
def sent(fleet):
    now = wall_clock()
    made = fleet.json("token", "new", "beacons", "--ship", "kon-tiki")
    fleet.passwords[made["ship"]] = made["password"]
    for ago, level, port in ((3 * HOUR, "error", "Bergen"), (3 * HOUR - 1, "info", "Oslo"), (2 * HOUR, "info", "Oslo")):
        assert fleet.send("kon-tiki", f"{format_time(now - ago)} {level} {port}") == (200, "")
    await_that(lambda: len(fleet.json("search", "kind:beacon")["rows"]) == 3, fleet.log.read_text)
    return fleet


def test_it_is_gathered_moved_and_searched(sent):
    (row,) = sent.json("search", "port:Bergen")["rows"]
    assert (row["kind"], row["host"], row["level"], row["title"]) == (
        "beacon",
        "kon-tiki",
        "error",
        "kon-tiki lies in Bergen",
    )
    assert "kind:beacon" in sent.run("search", "kind:beacons").stderr, "its plural is told"


def test_a_field_of_its_own_is_searched_for_told_and_completed(sent):
    def found(text):
        return [row["attrs"]["port"] for row in sent.json("search", text)["rows"]]

    await_that(lambda: found("cargo:stockfish") == ["Bergen"], sent.log.read_text)
    assert (found("cargo:rum"), found("-cargo:salt host:kon-tiki")) == ([], ["Oslo", "Oslo"])
    assert "what the ship carries" in sent.run("search", "--help").stdout
    assert "cargo:rum" in sent.get("/search")
    assert 'did you mean "cargo:"?' in sent.run("search", "cargos:rum").stderr


def test_what_it_does_not_take_has_a_reason_of_its_own(sent):
    status, text = sent.send("kon-tiki", "nothing")
    assert (status, "the beacon names no port" in text) == (422, True)


def test_its_senders_have_tokens_that_are_made_and_revoked(sent):
    assert sent.send("ra", "nothing")[0] == 401
    made = sent.json("token", "new", "beacons", "--ship", "ra")
    sent.passwords["ra"] = made["password"]
    assert sent.send("ra", "nothing")[0] == 422
    assert [one["ship"] for one in sent.json("token", "list")["tokens"]] == ["kon-tiki", "ra"]
    assert sent.run("token", "new", "beacons").returncode == 2
    assert "--ship belongs to beacons" in sent.run("token", "new", "web", "--ship", "ra").stderr
    assert "ra can send no beacon" in sent.run("token", "revoke", "beacons", made["id"]).stdout
    assert sent.send("ra", "nothing")[0] == 401


def test_a_report_is_shown_and_what_is_the_same_is_told(sent):
    newest, first, _ = sent.json("search", "kind:beacon")["rows"]
    shown = sent.json("report", "show", newest["id"])
    assert shown["sections"][0]["fields"]["port"] == "Oslo"
    assert [one["id"] for one in shown["duplicates"]] == [first["id"]]


def test_it_has_a_page_a_command_and_a_mark_of_its_own(sent):
    assert json.loads(sent.get("/ports.json")) == {"Bergen": 1, "Oslo": 2}
    assert "<li>Oslo: 2</li>" in sent.get("/ports")
    assert '<a href="/ports">Ports</a>' in sent.get("/")
    (bergen,) = sent.json("search", "port:Bergen")["rows"]
    assert "seen from kon-tiki" in sent.get(f"/report/{quote(bergen['id'], safe='')}")
    assert "Oslo" in sent.run("beacon", "ports").stdout
    assert "Oslo" in sent.run("fleet", "beacon", "ports").stdout
    assert "Beacons of ships" in sent.run("--help").stdout
    page = sent.get("/host/lae/kon-tiki?routine=1")
    assert 'd="M8 1v14"' in page
    assert "the raft kon-tiki · 9 cores" in page
    assert json.loads(sent.get("/host/lae/kon-tiki.json"))["load"]["cores"][0] == 3


def test_what_to_do_first_and_which_feeds_there_are_is_asked_of_kinds(sent):
    made = sent.run("token", "new", "web", "--role", "feed").stderr
    assert "/incidents.atom?token=TOKEN, /ports.atom?token=TOKEN" in made
    assert ALL.first == ["lae-monitor crashes submit", "lae-monitor beacon light", "lae-monitor demo"]


def test_its_routine_is_folded_away_and_its_groups_say_why(sent):
    page = json.loads(sent.get("/host/lae/kon-tiki.json"))
    assert [event["attrs"]["port"] for event in page["events"]] == ["Bergen"]
    groups = {group["group"]: group for group in sent.json("group", "list")["groups"]}
    assert groups["port Bergen"]["why"] == "they lie in Bergen, as port Bergen says"
    assert (groups["port Oslo"]["events"], groups["port Oslo"]["separate"]) == (2, 1)
    assert groups["port Oslo"]["versions"] == ["lamp 2"]
    assert [one["group"] for one in sent.json("group", "list", "--product", "Oslo")["groups"]] == ["port Oslo"]


def test_a_host_that_stops_is_silent(sent):
    (host,) = sent.json("host", "list")["hosts"]
    assert host["silent"]
    settings = load(sent.config, ALL, {})
    now = wall_clock()
    heard = Heard({("lae", "kon-tiki"): Stored(now - DAY, {"beacons": now - DAY})}, {}, frozenset({"beacons"}))
    (expected,) = silence.expected(settings, heard, [], now)
    found = silence.silent(expected, dict.fromkeys(silence.needed(ALL), 0.0), 2 * HOUR, now, ALL)
    assert "it sends beacons" in found.text
    (down,) = silence.down([expected], {"beacons": 0.0}, now, "lae", ALL)
    assert down.about == "beacons"


def test_a_host_that_never_came_is_silent_too(sent):
    settings = load(sent.config, ALL, {})
    now = wall_clock()
    contacts, running = silence.listened(settings, now)
    (expected,) = silence.expected(settings, Heard({}, contacts, running), [], now)
    assert (running, expected.host) == ({"beacons"}, "kon-tiki")
    found = silence.silent(expected, dict.fromkeys(silence.needed(ALL), 0.0), HOUR, now + 2 * HOUR, ALL)
    assert "it has a password" in found.text
    assert "whether the ship kon-tiki is afloat" in found.text


def test_what_runs_beside_its_gatherer_is_started_with_all(fleet):
    words = companions_of(load(fleet.config, ALL, {}))["lighthouse"]
    assert fleet.run(*words).stdout == "it shines\n"


def test_its_configuration_is_explained_and_checked(fleet):
    assert "beacons of ships" in fleet.run("config", "explain", "retention.beacons").stdout
    assert "gatherers.beacons" in fleet.run("check", "config", "beacons").stdout
    assert "beacons" in fleet.run("check", "fleet", "beacons").stdout


def test_it_has_a_part_in_the_demo(tmp_path):
    parts, state = parts_of(ALL), tmp_path / "state"
    story = Story(1, wall_clock() - HOUR, 1)
    config = stage.prepare(state, parts, stage.choose_ports(parts, None), story)
    settings = load(config, ALL, {})
    said = "\n".join(announcement(settings, parts, config, story, "all is told", kept=True))
    listen = settings.gatherers["beacons"].listen
    assert f"beacons    POST http://{listen}/beacon" in said
    assert "beacon ports\n      where the ships lie" in said
    happening = next(one for one in happenings(parts.values(), story, story.begins, story.ends) if one.what == "beacon")
    with (tmp_path / "log").open("wb") as log:
        gatherer = subprocess.Popen([*PROGRAM, "--config", config, "gather", "beacons"], stdout=log, stderr=log)
    try:
        part = parts[BEACONS](settings, story, state / stage.FLEET)
        assert asyncio.run(part.tell(happening)).status == 200
    finally:
        gatherer.terminate()
        gatherer.wait(60)


def test_it_is_retired_by_its_receipt_and_some_of_it_later(tmp_path):
    """Three files, a day old, two days old, and 20: of a port that is kept for longer."""
    settings = load(_written(tmp_path), ALL, {})
    now = 1_790_000_000.0

    async def go():
        async with spine.opened(tmp_path, kinds=ALL) as mover:
            for ship, port, ago in (("one", "Oslo", DAY), ("two", "Oslo", 10 * DAY), ("three", "Bergen", 20 * DAY)):
                line = f"{format_time(now)} info {port}\n".encode()
                await spine.receive(mover, f"beacons/lae/2026/09/21/{ship}.txt", line, now - ago)
            await mover.catch_up()
            ids = [group_id("beacon", f"{word} Oslo") for word in ("harbour", "port")]
            assert await renamed(mover.store, ids, ID_LENGTH) == {ids[0]: ids[1:]}
            gone, _ = await Retention(mover, rules_of(settings), lambda: now).run(confirmed=True)
            left = [entry.name for entry in await mover.archive.entries("beacons/lae/2026/09/21")]
            rows = await mover.store.query("SELECT host FROM {lae}.berths")
            return gone, sorted(left), sorted(row["host"] for row in rows)

    assert spine.run(go()) == (1, ["one.txt", "three.txt"], ["one", "three"])


def _written(folder):
    path = folder / "lae.toml"
    path.write_text('[retention]\nbeacons = "9d"\n[gatherers.beacons.port_retention]\nBergen = "99d"\n')
    return path


def test_the_fleets_status_has_the_hosts_of_every_kind_that_gives_them_furls(sent):
    for kind, host in (("incidents", "node1"), ("beacons", "ra"), ("beacons", "node1")):
        folder = sent.config.parent / "state" / "credentials" / kind / "lae"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{host}.furl").write_text("pb://...")
    hosts = sent.json("fleet", "status")["hosts"]
    assert [(one["kind"], one["host"]) for one in hosts] == [
        ("incident", "node1"), ("beacon", "node1"), ("beacon", "ra"),
    ]  # fmt: skip
    one_host = sent.json("fleet", "status", "--host", "ra", "--host", "nobody")["hosts"]
    assert [(one["kind"], one["host"], one["registered"]) for one in one_host] == [
        ("incident", "nobody", False), ("beacon", "ra", True),
    ]  # fmt: skip
    shown = sent.run("fleet", "status").stdout
    assert shown.split()[:2] == ["kind", "host"]


def test_without_a_kind_that_gives_furls_the_fleets_status_says_so(tmp_path):
    code = (
        "from lae_monitor.cli import main; from lae_monitor.core.kind import Kinds; from lae_monitor.kinds import KINDS\n"
        "main(Kinds(tuple(kind for kind in KINDS if not kind.register)))"
    )
    (tmp_path / "config.toml").write_text(f'[state]\npath = "{tmp_path}/state"\n')
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", str(tmp_path / "config.toml"), "fleet", "status"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "no kind of reports gives its hosts FURLs" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "crashes"}, "name of a kind: 'crashes' is taken"),
        ({"name": "journal"}, "is taken"),
        ({"name": "disk-errors"}, "is no name"),
        ({"event": "alarm"}, "event of a kind: 'alarm' is taken"),
        ({"event": "disk_error"}, "is no name"),
        ({"search": (SearchField("host", "t", "c", "", ""),)}, "search field of a kind: 'host' is taken"),
        ({"search": (SearchField("category", "t", "c", "", ""),)}, "is taken"),
        ({"search": (SearchField("my flag", "t", "c", "", ""),)}, "is no name"),
        ({"entries": (("alarm", "x:y"),)}, "entry of a kind: 'alarm' is taken"),
        ({"entries": (("categories", "x:y"),)}, "is taken"),
    ],
)
def test_a_name_stands_for_one_thing(changes, says):
    with pytest.raises(ValueError, match=says):
        Kinds((*KINDS, replace(BEACONS, **changes)))


def test_no_command_and_no_table_takes_the_place_of_another():
    command = ("run", BEACONS.commands[0][1])
    with pytest.raises(ValueError, match="'run' is taken"):
        commands(Kinds((replace(BEACONS, commands=(command,)),)))
    with pytest.raises(ValueError, match="two tables are called berths"):
        tables_of(Kinds((BEACONS, replace(BEACONS, name="b", event="b", search=(), entries=()))))


def test_a_table_of_a_kind_gets_the_columns_that_a_later_release_has(tmp_path):
    async def opened(kinds, test):
        async with spine.opened(tmp_path, kinds=kinds) as mover:
            return await test(mover.store)

    async def lose(store):
        await store.driver.command("ALTER TABLE lae.cargoes DROP COLUMN goods")

    async def look(store):
        return await store.query("SELECT goods FROM {lae}.cargoes")

    asyncio.run(opened(ALL, lose))
    assert asyncio.run(opened(ALL, look)) == []


def test_what_it_finds_wrong_with_a_host_is_an_alarm_until_it_is_over(sent):
    def raised():
        return [
            alarm["title"]
            for alarm in sent.json("alert", "list")["alarms"]
            if alarm["rule"] == "host in trouble" and not alarm["ended"]
        ]

    made = sent.json("token", "new", "beacons", "--ship", "drifter")
    sent.passwords[made["ship"]] = made["password"]
    assert sent.send("drifter", f"{format_time(wall_clock() - 9)} info Sea") == (200, "")
    await_that(lambda: raised() == ["drifter is afloat"], sent.log.read_text)
    assert sent.send("drifter", f"{format_time(wall_clock())} info Oslo") == (200, "")
    await_that(lambda: raised() == [], sent.log.read_text)

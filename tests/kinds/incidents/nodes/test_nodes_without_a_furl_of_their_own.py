"""The unregistered FURL: reports stay under the peer's address until an operator claims it; then they are the host's, once."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import made_incident, name_of

from lae_monitor.core.names import HostName
from lae_monitor.core.secrets import Furl
from lae_monitor.net.furls.claims import Claims, is_address

ROOT = Path(__file__).parents[4]
ADDRESS = "127.0.0.1"
FAST = {"net.furls.door.WATCH_EVERY": 0.2}

unregistered = pytest.mark.parametrize("gatherer", ["unregistered = true\n"], indirect=True)


def open_furl(gatherer):
    return Furl((gatherer.state / "credentials/incidents/log_gatherer.furl").read_text())


def cli(gatherer, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config), "fleet", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.strip(), done.stderr


def incidents(gatherer, host):
    folder = gatherer.folder_of(host)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def reports(gatherer, host, names, publisher="p"):
    """A node that comes by the unregistered FURL and has `names`."""
    for name in names:
        made_incident(gatherer.folder / f"{publisher}-incidents", name)
    node = gatherer.publisher(open_furl(gatherer), publisher)
    assert gatherer.await_names(host, len(names)) == sorted(names)
    return node


@unregistered
def test_node_reports_under_its_address_and_flogtools_furl_is_where_it_was(gatherer):
    credentials = gatherer.state / "credentials" / "incidents"
    credentials.mkdir(parents=True)
    theirs = credentials / "log_gatherer.furl"
    theirs.write_text(f"pb://{'a' * 32}@tcp:old.example:3118/{'b' * 32}\n")
    gatherer.start()
    furl = open_furl(gatherer)
    assert (furl.swissnum.reveal(), furl.hints) == ("b" * 32, (f"tcp:127.0.0.1:{gatherer.port}",))
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o600
    link = gatherer.state / "archive/incidents/lae/log_gatherer.furl"
    assert link.is_symlink()
    assert Furl(link.read_text()) == furl
    assert f"Gatherer waiting at: {theirs}\n" in gatherer.process.log()
    reports(gatherer, ADDRESS, [name_of("10-01")])
    (status,) = json.loads(cli(gatherer, "status", "--json")[0])["hosts"]
    assert (status["host"], status["unclaimed"], status["registered"], status["connections"]) == (
        ADDRESS,
        True,
        False,
        1,
    )
    said, following = cli(gatherer, "status")
    assert "unclaimed" in said.splitlines()[1]
    assert f"lae-monitor fleet claim {ADDRESS} --host HOST" in following
    gatherer.stop()
    assert furl.swissnum.reveal() not in gatherer.process.log() + gatherer.process.output() + str(gatherer.journal())


def test_furl_that_is_not_asked_for_is_not_made_and_lets_nobody_in(gatherer):
    gatherer.start()
    known = gatherer.register("node1").furl
    path = gatherer.state / "credentials/incidents/log_gatherer.furl"
    assert not path.exists()
    assert not (gatherer.state / "archive/incidents/lae/log_gatherer.furl").is_symlink()
    path.write_text(Furl.build(known.tub_id, ",".join(known.hints), "b" * 32).reveal() + "\n")
    gatherer.publisher(open_furl(gatherer))
    gatherer.await_journal(verdict="refused", reason="unknown_furl")


@unregistered
def test_claimed_address_is_that_host_from_then_on_and_what_it_sent_before_goes_there(gatherer):
    gatherer.start(FAST)
    names = [name_of(f"10-{day:02}") for day in range(1, 6)]
    node = reports(gatherer, ADDRESS, names)
    gatherer.await_that(lambda: gatherer.has_cursor(ADDRESS), "no cursor")
    before = {name: (gatherer.folder_of(ADDRESS) / f"{name}.flog.bz2").read_bytes() for name in names}
    (one,) = json.loads(cli(gatherer, "claim", "--list", "--json")[0])["unclaimed"]
    assert (one["host"], one["incidents"], one["connections"]) == (ADDRESS, 5, 1)
    assert one["last_heard"] is not None
    said, _ = cli(gatherer, "claim", ADDRESS, "--host", "node1")
    assert "lae/node1" in said
    gatherer.await_that(lambda: incidents(gatherer, ADDRESS) == [], lambda: incidents(gatherer, ADDRESS))
    assert gatherer.names("node1") == names
    assert {name: (gatherer.folder_of("node1") / f"{name}.flog.bz2").read_bytes() for name in names} == before
    node.await_output("asked since", 2)
    node.send(message="as node1", level=30)
    gatherer.await_names("node1", 6)
    assert cli(gatherer, "claim", "--list")[0] == "no address is unclaimed"
    assert node.output().count("asked incident") == 6, "nothing was asked for again"
    moved = gatherer.journal(what="decision", subject="moved file")
    assert [entry["about"] for entry in moved] == [
        f"incidents/lae/incidents/{ADDRESS}/{name}.flog.bz2" for name in names
    ]
    gatherer.await_journal(title="an address was claimed", host="node1", incidents="5", left="0")
    (status,) = [one for one in json.loads(cli(gatherer, "status", "--json")[0])["hosts"] if one["host"] == "node1"]
    assert (status["connections"], status["addresses"], status["unclaimed"]) == (1, [ADDRESS], False)
    node.kill()
    gatherer.stop()
    gatherer.start(FAST)
    again = gatherer.publisher(open_furl(gatherer), "p")
    again.await_output("asked since")
    again.send(message="after a restart", level=30)
    gatherer.await_names("node1", 7)
    assert again.output().count("asked incident") == 1
    assert gatherer.journal(verdict="refused") == []


@unregistered
def test_node_that_gets_its_own_furl_after_the_claim_is_asked_for_nothing_again(gatherer):
    """Not even before what it had sent is where it belongs: here the archive takes nothing meanwhile."""
    gatherer.start()
    names = [name_of(f"10-{day:02}") for day in range(1, 4)]
    reports(gatherer, ADDRESS, names).kill()
    gatherer.stop()
    cli(gatherer, "claim", ADDRESS, "--host", "node1")
    gatherer.start({**FAST, "full": True})
    node = gatherer.publisher(gatherer.register("node1").furl, "p")
    node.await_output("asked since")
    gatherer.process.await_log("not yet moved to lae/node1")
    gatherer.stop()
    assert "asked incident" not in node.output()
    assert incidents(gatherer, "node1") == []
    gatherer.start(FAST)
    gatherer.await_names("node1", 3)
    node.await_output("asked since", 2)
    node.send(message="live", level=30)
    gatherer.await_names("node1", 4)
    assert node.output().count("asked incident") == 1


@unregistered
def test_move_that_is_killed_again_and_again_loses_nothing_and_leaves_nothing_twice(gatherer):
    names = [name_of(f"10-{number % 28 + 1:02}", number % 60, f"abcd{number:03}") for number in range(150)]
    for name in names:
        made_incident(gatherer.folder_of(ADDRESS), name)
    (gatherer.folder_of(ADDRESS) / "latest").write_text(f"{max(names)}\n")
    credentials = gatherer.state / "credentials/incidents"
    credentials.mkdir(parents=True)
    (credentials / "claims").write_text(f"{ADDRESS} lae node1\n")
    for target in (20, 60, 110):
        gatherer.start(FAST)
        gatherer.await_names("node1", target)
        gatherer.process.kill()
        here, there = gatherer.names(ADDRESS), gatherer.names("node1")
        assert {*here, *there} == {*names}
        assert len({*here} & {*there}) <= 1, "at most the one that was on its way"
    gatherer.start(FAST)
    gatherer.await_that(lambda: incidents(gatherer, ADDRESS) == [], gatherer.process.log)
    assert gatherer.names("node1") == sorted(names)
    assert (gatherer.folder_of("node1") / "latest").exists()


@unregistered
def test_another_incident_of_the_same_name_stays_where_it_is(gatherer):
    made_incident(gatherer.folder_of(ADDRESS), name_of("10-01"), text="of the address")
    made_incident(gatherer.folder_of("node1"), name_of("10-01"), text="of node1")
    made_incident(gatherer.folder_of(ADDRESS), name_of("10-02"))
    cli(gatherer, "claim", ADDRESS, "--host", "node1")
    gatherer.start(FAST)
    gatherer.process.await_log("is another incident")
    gatherer.await_journal(title="an address was claimed", left="1")
    assert gatherer.names(ADDRESS) == [name_of("10-01")]
    assert gatherer.names("node1") == [name_of("10-01"), name_of("10-02")]


@unregistered
def test_unclaimed_again_it_reports_under_its_address_and_what_was_moved_is_not_kept_twice(gatherer):
    gatherer.start(FAST)
    name = name_of("10-01")
    node = reports(gatherer, ADDRESS, [name])
    cli(gatherer, "claim", ADDRESS, "--host", "node1")
    gatherer.await_that(lambda: incidents(gatherer, ADDRESS) == [], "still there")
    node.kill()
    gatherer.stop()
    assert "no longer claimed" in cli(gatherer, "unclaim", ADDRESS)[0]
    cli(gatherer, "unclaim", ADDRESS, code=1)
    gatherer.start(FAST)
    node = gatherer.publisher(open_furl(gatherer), "p")
    node.await_output("asked since")
    node.send(message="under the address", level=30)
    gatherer.await_names(ADDRESS, 1)
    assert gatherer.names("node1") == [name]
    assert name not in gatherer.names(ADDRESS)


@unregistered
def test_hosts_that_are_named_by_an_address_are_bounded_and_the_refusal_is_recorded(gatherer):
    made_incident(gatherer.folder_of("10.0.0.1"), name_of("10-01"))
    made_incident(gatherer.folder_of("no-address"), name_of("10-02"))
    gatherer.start({"net.furls.door.MAX_UNCLAIMED": 1, **FAST})
    node = gatherer.publisher(open_furl(gatherer))
    (refused,) = gatherer.await_journal(verdict="refused", reason="too_many_unclaimed")[:1]
    assert (refused["host"], refused["peer"]) == ("unclaimed", ADDRESS)
    assert "asked since" not in node.output()
    cli(gatherer, "claim", "10.0.0.1", "--host", "node1")
    node.await_output("asked since")


@unregistered
def test_removing_the_furls_file_shows_out_whoever_came_by_it(gatherer):
    gatherer.start(FAST)
    node = gatherer.publisher(open_furl(gatherer), mode="watches")
    node.await_output("connected")
    node.await_output("asked since")
    (gatherer.state / "credentials/incidents/log_gatherer.furl").unlink()
    gatherer.process.await_log("its FURL was revoked")
    gatherer.await_journal(verdict="refused", reason="unknown_furl")


def test_claims_are_refused_that_are_none(gatherer):
    for wrong, code in ((["10.0.0.1"], 2), (["--host", "node1"], 2), (["10.0.0.1", "--list"], 2),
                        (["node1", "--host", "node2"], 2), (["10.0.0.1", "--host", "../x"], 2),
                        (["10.0.0.1", "--host", "10.0.0.1"], 2)):  # fmt: skip
        cli(gatherer, "claim", *wrong, code=code)
    said = json.loads(cli(gatherer, "claim", "2001:db8::1", "--host", "six", "--cluster", "c2", "--json")[0])
    assert said == {"address": "ip6-2001-0db8-0000-0000-0000-0000-0000-0001", "cluster": "c2", "host": "six"}
    claims = Claims(gatherer.state / "credentials/incidents")
    assert claims.of(HostName(said["address"])) == ("c2", "six")
    assert stat.S_IMODE(claims.path.stat().st_mode) == 0o600
    cli(gatherer, "unclaim", "2001:db8:0::1")
    assert claims.all() == {}


def test_claims_file_that_is_damaged_keeps_what_can_be_read(tmp_path):
    (tmp_path / "claims").write_bytes(
        b"10.0.0.1 lae node1\nnonsense\n10.0.0.2 lae ../x\n\xff\xff\n10.0.0.3 lae node3\n"
    )
    claims = Claims(tmp_path)
    assert {*claims.all()} == {"10.0.0.1", "10.0.0.3"}
    (tmp_path / "claims").unlink()
    assert claims.all() == {}


def test_names_that_addresses_give():
    assert is_address("10.0.0.1")
    assert is_address("ip6-2001-0db8-0000-0000-0000-0000-0000-0001")
    assert not any(map(is_address, ("node1", "10.0.0", "ip6-", "ip6-2001", "10.0.0.1.example", "::1", "unknown", "")))

"""An incident is known by its trigger, whatever it is called and whoever hands it over: it is stored once, and a receipt says so."""

import json
import random
import shutil

from recorded import made_incident, name_of

from lae_monitor.kinds.incidents.wire.flog import pack
from lae_monitor.kinds.incidents.wire.names import identity_in, identity_of

RUN = "0123456789abcdef"


def stored(gatherer):
    """Host and name of every incident that is kept."""
    folder = gatherer.state / "archive" / "incidents" / "lae" / "incidents"
    return sorted((path.parent.name, path.name.removesuffix(".flog.bz2")) for path in folder.glob("*/*.flog.bz2"))


def deliver(gatherer, host, *incidents, **more):
    """A node of `host` that has these incidents, (name, text) each."""
    for name, text in incidents:
        made_incident(gatherer.folder / f"{host}-incidents", name, text=text, run=RUN, **more)
    node = gatherer.publisher(gatherer.register(host).furl, host)
    node.await_output("asked since")
    return node


def test_an_incident_that_comes_by_another_furl_is_not_kept_again_and_a_receipt_names_the_one_that_is(gatherer):
    gatherer.start()
    deliver(gatherer, "node1", (name_of("10-01"), "same"))
    gatherer.await_names("node1", 1)
    gatherer.await_journal(verdict="accepted")
    other = deliver(gatherer, "node2", (name_of("10-01"), "same"), (name_of("10-02"), "its own"))
    gatherer.await_names("node2", 1)
    (known,) = gatherer.await_journal(verdict="refused")
    assert (known["reason"], known["host"], known["id"]) == ("incident_known", "node2", name_of("10-01"))
    assert f"incidents/lae/incidents/node1/{name_of('10-01')}.flog.bz2" in known["detail"]
    assert stored(gatherer) == [("node1", name_of("10-01")), ("node2", name_of("10-02"))]
    other.kill()
    gatherer.publisher(gatherer.register("node2").furl, "node2").await_output("asked since")
    fresh = gatherer.publisher(gatherer.register("node2").furl, "fresh")
    fresh.await_output("asked since")
    fresh.send(message="later", level=30)
    gatherer.await_names("node2", 2)
    assert other.output().count(f"asked {name_of('10-01')}") == 1, "it is not asked for again"
    assert len(gatherer.journal(verdict="refused")) == 1


def test_what_another_program_put_into_the_archive_meanwhile_is_not_kept_again(gatherer):
    """As an import does, which runs beside the gatherer."""
    gatherer.start({"kinds.incidents.stored.CHANGES_EVERY": 0.0})
    deliver(gatherer, "node1", (name_of("10-01"), "one"))
    gatherer.await_names("node1", 1)
    for host in ("node1", "imported"):  # one folder that the gatherer knows, and one that it does not
        name = name_of("10-02" if host == "node1" else "10-03")
        made_incident(gatherer.folder_of(host), name, text=name, run=RUN)
    again = [(name_of(day), name_of(day)) for day in ("10-02", "10-03")]
    deliver(gatherer, "node2", *again, (name_of("10-04"), "its own"))
    gatherer.await_names("node2", 1)
    gatherer.await_journal(2, verdict="refused", reason="incident_known", host="node2")
    assert stored(gatherer) == [
        ("imported", name_of("10-03")), ("node1", name_of("10-01")), ("node1", name_of("10-02")),
        ("node2", name_of("10-04")),
    ]  # fmt: skip


def test_an_incident_that_comes_under_another_name_is_not_kept_again(gatherer):
    gatherer.start()
    first, second = name_of("10-01"), name_of("10-01", 5, "zzzzzzz")
    deliver(gatherer, "node1", (first, "same"), (second, "same"))
    (known,) = gatherer.await_journal(verdict="refused")
    assert (known["reason"], known["id"]) == ("incident_known", second)
    assert stored(gatherer) == [("node1", first)]
    gatherer.await_that(
        lambda: gatherer.has_cursor() and (gatherer.folder_of("node1") / "latest").read_text() == f"{second}\n",
        "the cursor moves past it",
    )


def test_the_same_incidents_of_three_hosts_at_once_are_kept_once_each(gatherer):
    gatherer.start()
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    names = [name_of(f"10-{day:02}") for day in range(1, 13)]
    for host in ("node1", "node2", "node3"):
        for name in names:
            number = rng.choice([3, 200])
            made_incident(gatherer.folder / f"{host}-incidents", name, events=number, text=name, run=RUN)
    for host in ("node1", "node2", "node3"):
        gatherer.publisher(gatherer.register(host).furl, host)
    gatherer.await_that(
        lambda: len(gatherer.journal(what="receipt")) == 36, lambda: f"{gatherer.journal()}\n{gatherer.process.log()}"
    )
    assert sorted(name for _, name in stored(gatherer)) == names
    assert len(gatherer.journal(verdict="accepted")) == 12


def test_another_trigger_of_the_same_number_and_run_is_another_incident(gatherer):
    """Who learns of a host's run cannot keep its incidents away."""
    gatherer.start()
    deliver(gatherer, "bad", (name_of("10-01"), "made up"))
    gatherer.await_names("bad", 1)
    deliver(gatherer, "node1", (name_of("10-01"), "true"))
    assert gatherer.await_names("node1", 1) == [name_of("10-01")]


def test_state_that_is_lost_is_read_from_the_archive_and_nothing_is_kept_twice(gatherer):
    gatherer.start()
    deliver(gatherer, "node1", *((name_of(f"10-{day:02}"), f"{day}") for day in range(1, 6)))
    gatherer.await_names("node1", 5)
    gatherer.await_journal(5, verdict="accepted")
    gatherer.stop()
    for path in gatherer.state.glob("gather-incidents.db*"):
        path.unlink()
    gatherer.start()
    gatherer.process.await_log("5 stored incidents are not remembered")
    before = stored(gatherer)
    deliver(gatherer, "node2", (name_of("10-01"), "1"), (name_of("10-02", 9, "another"), "2"), (name_of("10-09"), "9"))
    gatherer.await_names("node2", 1)
    gatherer.await_journal(2, verdict="refused", reason="incident_known")
    assert stored(gatherer) == [*before, ("node2", name_of("10-09"))]


def test_one_that_was_not_yet_read_is_compared_before_its_namesake_is_kept(gatherer):
    """A killed gatherer had no time to remember it, and the background is slow."""
    made_incident(gatherer.folder_of("node1"), name_of("10-01"), text="same", run=RUN)
    made_incident(gatherer.folder_of("node1"), name_of("10-02"), text="other", run=RUN)
    gatherer.start({"kinds.incidents.stored.GROUP": 0})  # reads nothing by itself
    deliver(gatherer, "node2", (name_of("10-01"), "same"), (name_of("10-02"), "of node2"))
    gatherer.await_journal(1, verdict="refused", reason="incident_known", id=name_of("10-01"))
    assert gatherer.await_names("node2", 1) == [name_of("10-02")]


def test_what_was_taken_away_is_no_reason_to_keep_nothing(gatherer):
    gatherer.start()
    deliver(gatherer, "node1", (name_of("10-01"), "same"))
    gatherer.await_names("node1", 1)
    gatherer.await_journal(verdict="accepted")
    gone = gatherer.folder_of("node1").rename(
        gatherer.folder_of("node1").parent / ".gone"
    )  # whatever is written meanwhile
    shutil.rmtree(gone)
    deliver(gatherer, "node2", (name_of("10-01"), "same"))
    assert gatherer.await_names("node2", 1) == [name_of("10-01")]


def test_hooks_are_told_of_nodes_and_incidents_and_may_fail(gatherer):
    gatherer.start({"hooks": True})
    made = gatherer.register("node1")
    node = gatherer.publisher(made.furl)
    gatherer.process.await_output("connected lae node1 True ")
    node.await_output("asked since")
    node.send(message="told", level=30)
    (name,) = gatherer.await_names("node1", 1)
    size = (gatherer.folder_of("node1") / f"{name}.flog.bz2").stat().st_size
    gatherer.process.await_output(f"stored lae node1 incidents/lae/incidents/node1/{name}.flog.bz2 {size}\n")
    gatherer.process.await_log("what is to be done with it was not done", 2)
    gatherer.publisher(type(made.furl).build(made.furl.tub_id, ",".join(made.furl.hints), "q" * 32))
    gatherer.process.await_output(f"asked for {'q' * 32}\n")
    gatherer.await_journal(verdict="refused", reason="unknown_furl")
    assert made.furl.swissnum.reveal() not in gatherer.process.output(), "hosts are found first"


# ---- the identity --------------------------------------------------------------------------------------------------


def answer(**trigger):
    return {"type": "incident", "trigger": {"level": 30, "message": "x", "time": 1.7e9} | trigger}, [{"num": 1}]


def test_identity_is_the_same_on_the_wire_and_in_the_file():
    for trigger in (
        {"incarnation": (RUN, None), "num": 7, b"stats": {b"a": b"\xff", "b": (1, {2: 3.5})}, "nan": float("nan")},
        {"incarnation": [RUN.encode(), None], "num": 0, "deep": [[[[{"x": 2**4000}]]]]},
        {"incarnation": RUN, "num": 2**70, "failure": ValueError("no")},
    ):
        made = answer(incarnation=None, num=0)
        made[0]["trigger"].update(trigger)
        key = identity_of(made)
        assert key is not None
        assert identity_in(b"".join(pack(made, "local", 1.0).chunks)) == key


def test_what_does_not_say_which_it_is_has_no_identity():
    for trigger in ({}, {"incarnation": RUN}, {"num": 1}, {"incarnation": [], "num": 1}, {"incarnation": "", "num": 1},
                    {"incarnation": [None], "num": 1}, {"incarnation": RUN, "num": True}, {"incarnation": RUN, "num": "1"}):  # fmt: skip
        assert identity_of(answer(**trigger)) is None
    for nothing in (None, (), [], "no", ([],), ({},), ({"trigger": 5},), ({"trigger": []},)):
        assert identity_of(nothing) is None
    for data in (b"", b"BZ", b"(dp0", b"# foolscap flogfile v1\n", b'# foolscap flogfile v1\n{"header": 5}\n'):
        assert identity_in(data) is None


def test_every_part_of_the_trigger_counts():
    one = {"incarnation": [RUN, None], "num": 1, "umid": "abc"}
    keys = {json.dumps(more): identity_of(answer(**one | more)) for more in
            ({}, {"num": 2}, {"incarnation": [RUN[::-1], None]}, {"umid": "abd"}, {"message": "y"})}  # fmt: skip
    assert len(set(keys.values())) == len(keys)

"""The switch gatherers.incidents.fast_decoding: real nodes, the real gatherer, and the same stored either way."""

import bz2
import json

import pytest

NOT_USED = {  # what cannot be there when it is not to be used
    True: {"kinds.incidents.wire.flog.Plain": None},
    False: {"kinds.incidents.answers.broker.FastBroker": None},
}


def start(gatherer, is_fast, **limits):
    with gatherer.config.open("a") as config:
        config.write(f"fast_decoding = {json.dumps(is_fast)}\n")
    return gatherer.start(limits)


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def is_fast(request):
    return request.param


def test_the_switch_says_who_decodes(gatherer, is_fast):
    start(gatherer, is_fast, **NOT_USED[is_fast])
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    node.send(message="something odd", level=30, who="café")
    (name,) = gatherer.await_names("node1", 1)
    header, *lines = gatherer.lines("node1", name)
    assert header["header"]["trigger"]["message"] == "something odd"
    assert lines[-1]["d"]["who"] == "café"
    (path,) = node.incidents.glob("incident*.flog.bz2")
    assert [line["d"] for line in lines] == [line["d"] for line in recorded(path)]


def recorded(path):
    """The events as the node itself wrote them."""
    return [json.loads(line) for line in bz2.decompress(path.read_bytes()).splitlines()[2:]]


@pytest.mark.parametrize(
    ("mode", "stored", "refused"), [("strange_values", 1, 0), ("malformed", 1, 5), ("too_large", 1, 4)]
)
def test_what_nodes_should_not_send_is_stored_and_refused_either_way(gatherer, tmp_path, mode, stored, refused):
    other = type(gatherer)(tmp_path / "other", gatherer.loop)
    try:
        assert outcome(gatherer, True, mode, stored, refused) == outcome(other, False, mode, stored, refused)
    finally:
        other.close()


def outcome(gatherer, is_fast, mode, stored, refused):
    start(gatherer, is_fast)
    node = gatherer.publisher(gatherer.register("node1").furl, mode=mode)
    node.await_output("asked since")
    names = gatherer.await_names("node1", stored)
    entries = gatherer.await_journal(refused, verdict="refused") if refused else []
    lines = [line for name in names for line in gatherer.lines("node1", name)]
    for line in lines[1:]:
        del line["rx_time"], line["from"]  # of the run
    gatherer.stop()
    return names, repr(lines), {entry["id"]: (entry["reason"], entry["detail"]) for entry in entries}

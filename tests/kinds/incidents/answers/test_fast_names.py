"""Names of incidents, taken by us or by Foolscap: the same ones arrive, and the connection goes on in the same way."""

import random
import sys
from pathlib import Path

import pytest
from foolscap import call, eventual
from foolscap.logging.interfaces import RILogObserver
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer

sys.path.insert(0, str(Path(__file__).parents[3] / "fuzz"))
from answer_inputs import AFTER, PONG, REQUEST, Receiver, answer, cut, event, incident, sent

from lae_monitor.kinds.incidents.answers.broker import FastBroker, NamesOnly
from lae_monitor.net.tubs.broker import GuardedBroker

PIECE = 16_384  # bytes that TLS hands over at once
SHARED = ["shared"]
GOOD = b"incident-2026-11-20--10-00-01Z-abcdefg"
TRIGGER = event(1, level=30, message="café", umid="lp1vaQ")


@implementer(RILogObserver)
class Observer(NamesOnly):
    def __init__(self):
        self.names = []
        self.calls = []  # whatever else
        self.without_trigger = 0

    def __repr__(self):
        return "observer"  # Foolscap says so to the peer

    def remote_new_incident(self, name, trigger):
        self.names.append(name.decode() if isinstance(name, bytes) and name.isascii() else name)
        self.without_trigger += trigger is None

    def remote_done_with_incident_catchup(self):
        self.calls.append("done")

    def remote_msg(self, logmsg):
        self.calls.append(logmsg)


def named(name=GOOD, trigger=TRIGGER, request=0, target=1):
    return call.CallSlicer(request, target, "new_incident", [name, trigger], {})


def done():
    return call.CallSlicer(0, 1, "done_with_incident_catchup", [], {})


def received(kind, pieces, vocabulary=True):
    """What an observer is told, how many names without a trigger, and how the connection goes on."""
    receiver = Receiver(kind, vocabulary)
    observer = Observer()
    receiver.broker.getTrackerForMyReference(1, observer)
    for piece in pieces:
        receiver.receive([piece])
        eventual._theSimpleQueue._turn()
    if receiver.has_answer_on_its_way():
        receiver.give_up()
    else:
        receiver.broker.receive(PONG)  # as the other one gets
    while eventual._theSimpleQueue._events:
        eventual._theSimpleQueue._turn()
    # In whatever order: what was taken may overtake what Foolscap has queued.
    return (sorted(map(str, observer.names)), observer.calls, receiver.state()), observer.without_trigger


def compare(pieces, vocabulary=True):
    """What arrives, which has to be the same; and how many names we took ourselves."""
    foolscaps, none = received(GuardedBroker, pieces, vocabulary)
    ours, taken = received(FastBroker, pieces, vocabulary)
    assert ours == foolscaps
    assert none == 0
    return ours, taken


# what is called -> how many of the names we take ourselves
CALLS = {
    "what nodes send": ([named(), done()], 1),
    "many": ([*(named(b"incident-%d" % number) for number in range(50)), done()], 50),
    "between answers": ([named(), answer(incident(event(0))), named(b"incident-2"), answer(incident(), AFTER)], 2),
    "one that wants an answer": ([named(), named(b"incident-2", request=7), named(b"incident-3")], 2),
    "a name as text": ([named("incident-text")], 1),
    "a name of other letters": ([named("incident-é"), named(b"incident-\xff"), named(b"incident-\\xff")], 0),
    "a name that is a word": ([named(b"list"), named("none")], 2),
    "a name that is none": ([named(5), named(None), named([]), named({}), named((GOOD,)), named()], 1),
    "a trigger that is none": ([named(trigger=5), named(trigger=[TRIGGER]), named(trigger=None), named()], 1),
    "what a trigger may hold": ([named(trigger=event(0, a=[1], b=(2.5, None), c={b"d": True}, e=b"\xff"))], 1),
    "a trigger that refers": ([named(trigger=event(0, a=[SHARED, [SHARED]])), named()], 2),
    "a trigger with odd keys": ([named(trigger={1: 2}), named(trigger={(1, 2): 3}), named()], 1),
    "a deep trigger": ([named(trigger={"a": eval("[" * 55 + "]" * 55)}), named()], 1),
    "an observer that is none": ([named(target=9), named(target=0), named()], 1),
    "too few and too many": (
        [
            call.CallSlicer(0, 1, "new_incident", [GOOD], {}),
            call.CallSlicer(0, 1, "new_incident", [GOOD, TRIGGER, 5], {}),
            call.CallSlicer(0, 1, "new_incident", [GOOD], {"trigger": TRIGGER}),
            named(),
        ],
        1,
    ),
    "something else": (
        [call.CallSlicer(0, 1, "msg", [TRIGGER], {}), named(), call.CallSlicer(0, 1, "nothing", [], {})],
        1,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_has_the_outcome_that_foolscap_gives_it(name):
    messages, taken = CALLS[name]
    messages = [*messages, answer(incident(event(2)))]
    (_, _, state), found = compare([sent(*messages)])
    assert found == taken
    assert state["outcomes"][REQUEST].startswith(b"BZ"), "the connection goes on"
    for first in (0, 120, 20_000):
        data = sent(*messages, first=first)
        for step in (1, 7, 50, 1000, len(data)):
            compare(cut(data, step))


def test_names_may_be_cut_anywhere():
    data = sent(named(), named(b"incident-2"), done(), answer(incident(event(0))), named(b"incident-3"))
    for at in range(1, len(data)):
        (names, calls, _), _ = compare([data[:at], data[at:]])
        assert (names, calls) == (sorted([GOOD.decode(), "incident-2", "incident-3"]), ["done"])


def test_whoever_has_another_table_of_words_is_left_to_foolscap():
    (names, _, _), taken = compare([sent(named(), vocabulary=False)], vocabulary=False)
    assert (names, taken) == ([GOOD.decode()], 0)


# What no Foolscap sends: what is changed in the bytes of a name, or what is cut off.
CHANGES = {
    "another end of the call": (b"\x00\x89", b"\x03\x89"),
    "another end of the arguments": (b"\x01\x89", b"\x02\x89"),
    "another number of arguments": (b"\x87\x02\x81", b"\x87\x03\x81"),
    "a long number of arguments": (b"\x87\x02\x81", b"\x87\x01\x85\x02"),
    "a method by another name": (b"new_incident", b"old_incident"),
    "a request of many digits": (b"\x87\x00\x81", b"\x87\x00\x00\x81"),
    "a negative object": (b"\x01\x81\x0c\x82", b"\x01\x83\x0c\x82"),
    "an abort": (b"\x87\x02\x81", b"\x87\x8a\x02\x81"),
    "a ping": (b"\x87\x02\x81", b"\x87\x05\x8e\x02\x81"),
    "no arguments": (b"\x88\x0c\x87\x02\x81", b"\x88\x0b\x87\x02\x81"),
    "a key twice": (b"\x04\x82umid", b"\x04\x82time"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_nobody_sends_has_the_outcome_that_foolscap_gives_it(name):
    old, new = CHANGES[name]
    data = sent(named())
    assert old in data, data
    begin, _, end = data.rpartition(old)
    data = begin + new + end + sent(named(b"incident-2"), answer(incident(event(1))), first=100)
    for pieces in ([data], cut(data, 1), cut(data, 50)):
        compare(pieces)


@given(
    trigger=st.dictionaries(
        st.text(max_size=5) | st.binary(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=9) | st.sampled_from(["list"]),
            lambda values: st.lists(values, max_size=3) | st.tuples(values, values),
            max_leaves=6,
        ),
        max_size=4,
    ).filter(lambda made: len({*map(type, made)}) <= 1),
    name=st.text(max_size=20) | st.binary(max_size=20),
    seed=st.integers(0, 2**32),
)
def test_hypothesis_finds_no_name_that_the_two_see_differently(trigger, name, seed):
    choose = random.Random(seed)
    data = sent(named(name, trigger), named(), answer(incident(event(0))), first=choose.randrange(20_000))
    compare(cut(data, choose.randrange(1, 200)))
    changed = bytearray(data)
    changed[choose.randrange(len(changed))] = choose.randrange(256)
    compare([bytes(changed)])

"""Our own decoder of incidents and Foolscap's: whatever a node answers, and however it comes, the outcome is the same."""

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "fuzz"))
import publisher
from answer_inputs import (
    AFTER,
    HEAD,
    OTHER,
    REQUEST,
    STREAMS,
    Receiver,
    answer,
    compare,
    cut,
    error,
    event,
    incident,
    one_input,
    sent,
)

from lae_monitor.kinds.incidents.answers.broker import FastBroker
from lae_monitor.net.tubs import broker as tubs_broker
from lae_monitor.net.tubs.broker import GuardedBroker

PIECE = 16_384  # bytes that TLS hands over at once
SHARED = ["shared"]

# what is answered -> whether ours decodes it; what it leaves to Foolscap is right too, only slow
ANSWERS = {
    "what nodes send": (incident(event(0, message="café", umid="lp1vaQ", parent=5, ratio=0.5)), True),
    "no events": (incident(), True),
    "empty things": (incident(event(0, a="", b=[], c={}, d=(), e=b"", f=0, g=0.0)), True),
    "nothing but empty": (({}, [{}]), True),
    "yes and no": (incident(event(0, yes=True, no=False, nothing=None)), True),
    "bytes": (incident(event(0, stats={b"a": b"\xff\xfe", b"b": {b"c": 1}})), True),
    "bytes that are no text": (incident(event(0, value=b"\xff" * 10_000)), True),
    "words of the table": (incident(event(0, list="none", error=b"error", dict=["unicode", "attrdict"])), True),
    "numbers": (
        incident(event(0, values=[0, 127, 128, 2**31 - 1, 2**31, 2**80, -1, -(2**31), -(2**31) - 1, -(2**70)])),
        True,
    ),
    "numbers that are none": (incident(event(0, values=[float("nan"), float("inf"), -0.0, 1e308])), True),
    "a number too long for foolscap": (incident(event(0, value=2**9000)), False),
    "a number too long to print": (incident(event(0, values=[2**9000])), False),
    "a number that takes two pieces": (incident(event(0, values=[-(2 ** (8 * 20_000))])), False),
    "sets": (incident(event(0, one={1}, two=frozenset(["a"]))), True),
    "a text that takes many pieces": (incident(event(0, message="é" * 50_000), event(1)), True),
    "values that refer to one": (incident(event(0, one=SHARED, two=[SHARED, SHARED, {"three": SHARED}])), True),
    "an event twice": (incident(*[event(0)] * 2), False),
    "numbers as keys": (incident(event(0, value={1: 2, 3.5: 4})), False),
    "a tuple as a key": (incident(event(0, value={(1, 2): 3})), False),
    "deep": (incident(event(0, value=publisher.deep())), False),
    "just deep enough": (incident(event(0, value=eval("[" * 52 + "5" + "]" * 52))), False),
    "no pair": ("no incident", False),
    "three": ((*incident(event(0)), 5), False),
    "a list for a pair": (list(incident(event(0))), False),
    "no header": ((5, [event(0)]), False),
    "no list": (({"type": "incident"}, event(0)), False),
    "a tuple for a list": (({"type": "incident"}, (event(0),)), False),
    "a set for a list": (({"type": "incident"}, {5}), False),
    "an event that is none": (({"type": "incident"}, [event(0), 5]), False),
    "an event that is a list": (({"type": "incident"}, [event(0), [5]]), False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_the_outcome_that_foolscap_gives_it(name):
    value, is_ours = ANSWERS[name]
    data = sent(answer(value), answer(5, OTHER), answer(incident(event(1)), AFTER))
    for step in (1, 2, 3, 7, 50, 1000, PIECE, len(data)) if len(data) < PIECE else (1000, PIECE, len(data)):
        outcomes, decoded = compare(cut(data, step))
        assert outcomes[OTHER] == 5
        assert outcomes[AFTER].startswith(b"BZ"), "the connection goes on"
        assert decoded == 1 + is_ours


@pytest.mark.parametrize("mode", publisher.ANSWERS)
def test_every_mode_of_the_publisher_has_the_outcome_that_foolscap_gives_it(mode):
    for value in publisher.ANSWERS[mode].values():
        compare(cut(sent(answer(value), answer(5, OTHER)), PIECE))


def test_a_stream_may_be_cut_anywhere():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    for stream in STREAMS:
        for at in range(1, len(stream)):
            compare([stream[:at], stream[at:]])
        ends = sorted(choose.sample(range(1, len(stream)), 20))
        compare([stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)])


@pytest.mark.parametrize(
    ("messages", "decoded"),
    [
        ([error(), answer(5, OTHER), answer(incident(event(0)), AFTER)], 1),
        ([answer(incident(event(0)), OTHER), answer(incident(event(0)))], 1),
        ([answer(incident(event(0)), 77), answer(incident(event(0)))], 1),
        ([answer(incident(event(0))), answer(incident(event(0)))], 1),
        ([answer(incident(event(0)), AFTER), answer(incident(event(0))), answer(5, OTHER)], 2),
    ],
    ids=["an error", "of something else", "of nothing", "twice", "in another order"],
)
def test_answers_that_are_not_expected_do_not_disturb_those_that_are(messages, decoded):
    data = sent(*messages, first=5000)
    for step in (1, 30, PIECE):
        assert compare(cut(data, step))[1] == decoded


def test_whoever_has_another_table_of_words_is_left_to_foolscap():
    outcomes, decoded = compare([sent(answer(incident(event(0))), vocabulary=False)], vocabulary=False)
    assert outcomes[REQUEST].startswith(b"BZ")
    assert decoded == 0
    states = []
    for kind in (GuardedBroker, FastBroker):
        receiver = Receiver(kind)
        receiver.broker.incomingVocabulary = {**receiver.broker.incomingVocabulary, 8: b"list", 4: b"unicode"}
        states.append(receiver.receive([sent(answer(incident(event(0))))]).state())
    assert states[0] == states[1]


ODD = incident(event(0, aa=1, ab="text", ac=True, ad=[SHARED, SHARED], ae=b"bytes", af=2**40, ag="list"))
# What no Foolscap sends: what is changed in the bytes of the answer above.
CHANGES = {
    "a key twice": (b"\x02\x82ab", b"\x02\x82aa"),
    "bytes for a key": (b"\x88\x08\x87\x02\x82ae\x1d\x89", b"\x02\x82ae"),
    "a key twice, as text and as bytes": (b"\x88\x08\x87\x02\x82ae\x1d\x89", b"\x02\x82aa"),
    "a key without a value": (b"aa\x13\x89\x01\x81", b"aa\x13\x89"),
    "another end of a text": (b"text\x15\x89", b"text\x14\x89"),
    "no end of a text": (b"text\x15\x89", b"text"),
    "two strings in a text": (b"text\x15\x89", b"text\x01\x82x\x15\x89"),
    "text that is none": (b"text", b"t\xe9xt"),
    "text for a number": (b"\x04\x82text", b"\x04\x81"),
    "zeros before and after": (b"\x04\x82text", b"\x04\x00\x00\x82text"),
    "a count with zeros at its end": (b"text\x15\x89", b"text\x15\x00\x89"),
    "an abort": (b"\x81\x14\x88", b"\x81\x12\x8a\x14\x88"),
    "an error": (b"\x88\x08\x87\x04\x82text", b"\x04\x8dtext"),
    "a ping": (b"text\x15\x89", b"text\x05\x8e\x15\x89"),
    "a ping between": (b"\x81\x14\x88", b"\x81\x05\x8e\x14\x88"),
    "a pong between": (b"\x81\x14\x88", b"\x81\x8f\x14\x88"),
    "a token that is none": (b"\x81\x14\x88", b"\x81\x8c\x14\x88"),
    "a number of too many digits": (b"\x81\x14\x88", b"\x81" + b"\x01" * 65 + b"\x88"),
    "truth beyond one": (b"\x01\x87\x01\x81", b"\x01\x87\x02\x81"),
    "truth of nothing": (b"\x01\x87\x01\x81", b"\x01\x87"),
    "a type that is none": (b"\x01\x87\x01\x81", b"\x18\x87\x01\x81"),
    "a word that is none": (b"\x08\x87\x04\x87", b"\x08\x87\x40\x87"),
    "a type by its name": (b"\x88\x01\x87\x01\x81", b"\x88\x07\x82boolean\x01\x81"),
    "a reference to nothing": (b"\x88\x02\x87\x1a\x81", b"\x88\x02\x87\x7f\x81"),
    "a reference to a text": (b"\x88\x02\x87\x1a\x81", b"\x88\x02\x87\x18\x81"),
    "a reference to what is around it": (b"\x88\x02\x87\x1a\x81", b"\x88\x02\x87\x19\x81"),
    "a reference to the event that it is in": (b"\x88\x02\x87\x1a\x81", b"\x88\x02\x87\x12\x81"),
    "another end of a container": (b"shared\x1b\x89\x1a\x89", b"shared\x1b\x89\x19\x89"),
    "an end too many": (b"shared\x1b\x89\x1a\x89", b"shared\x1b\x89\x1a\x89\x1a\x89"),
    "a number with other digits": (b"\x05\x82bytes", b"\x05\x00\x82bytes"),
    "a string that ends too late": (b"\x05\x82bytes", b"\x7f\x7f\x7f\x82bytes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_nobody_sends_has_the_outcome_that_foolscap_gives_it(name):
    old, new = CHANGES[name]
    data = sent(answer(ODD), answer(5, OTHER), answer(incident(event(1)), AFTER))
    assert data.count(old) >= 1, data
    for step in (1, 2, 5, 100, PIECE):
        compare(cut(data.replace(old, new, 1), step))


def test_an_answer_that_ends_as_another_began_has_the_outcome_that_foolscap_gives_it():
    data = sent(answer(ODD))
    assert data.endswith(b"\x00\x89")
    for step in (1, 100, PIECE):
        assert compare(cut(data[:-2] + b"\x01\x89", step))[1] == 0


@pytest.mark.parametrize("name", ["an abort", "a token that is none", "a number of too many digits"])
def test_what_is_wrong_is_said_at_once_not_when_more_comes(name):
    old, new = CHANGES[name]
    data = sent(answer(ODD)).replace(old, new, 1)
    receiver = Receiver(FastBroker).receive([data[: data.index(new) + len(new) - 1]])
    assert not receiver.has_answer_on_its_way()


def test_an_end_that_is_too_short_is_seen_at_once():
    data = sent(answer(ODD), first=5000)
    receiver = Receiver(FastBroker).receive([data[: data.index(b"text") + 4] + b"\x05\x89"])
    assert not receiver.has_answer_on_its_way()


# ---- limits ------------------------------------------------------------------------------------------------------------


LARGE = incident(*(event(number, message="x" * 1000) for number in range(100)))


@pytest.mark.parametrize("step", [1000, 1500, PIECE])
def test_an_answer_beyond_a_limit_is_refused_and_the_next_one_taken(monkeypatch, step):
    monkeypatch.setattr(tubs_broker, "MAX_MESSAGE", 50_000)
    data = sent(answer(LARGE), answer(5, OTHER), answer(incident(event(1)), AFTER))
    outcomes, decoded = compare(cut(data, step))
    assert outcomes[REQUEST] == ("TooLarge", "more than 50000 bytes")
    assert (outcomes[OTHER], decoded) == (5, 1)
    (long,) = (incident(event(0, message="x" * 100_000)),)
    compare(cut(sent(answer(long), answer(5, OTHER), answer(incident(event(1)), AFTER)), step))


def test_a_refused_answer_that_never_ends_ends_the_connection(monkeypatch):
    monkeypatch.setattr(tubs_broker, "MAX_MESSAGE", 20_000)
    monkeypatch.setattr(tubs_broker, "MAX_DISCARDED", 40_000)
    for kind in (GuardedBroker, FastBroker):
        receiver = Receiver(kind)
        receiver.receive(cut(sent(answer(LARGE)), 1000))
        assert receiver.broker.disconnected
        receiver.broker.connectionLost()
        assert receiver.broker.tub.held.total == 0


def test_all_connections_together_hold_no_more_than_they_may_and_the_largest_is_refused(monkeypatch):
    monkeypatch.setattr(tubs_broker, "MAX_HELD", 130_000)
    data = cut(sent(answer(LARGE), answer(5, OTHER), answer(incident(event(1)), AFTER)), 1000)
    first, second = Receiver(FastBroker), Receiver(FastBroker)
    second.broker.tub.held = held = first.broker.tub.held
    held.brokers.add(second.broker)
    first.receive(data[:100])
    second.receive(data[:40])
    assert first.outcomes == {REQUEST: ("TooLarge", "all connections together hold too much")}
    assert held.total < 60_000
    second.receive(data[40:])
    first.receive(data[100:])
    assert second.outcomes[REQUEST].startswith(b"BZ")
    assert first.outcomes[AFTER].startswith(b"BZ")
    assert held.total == 0


def one_turn(clock):
    """Of the event loop: advance() would do what is asked for meanwhile, too."""
    (due,) = [call for call in clock.getDelayedCalls() if call.getTime() <= clock.seconds()]
    work = due.func
    due.cancel()
    work()


def test_what_is_given_back_to_foolscap_does_not_hold_up_others():
    receiver = Receiver(FastBroker)
    header, events = LARGE
    value = header, [*events[:50], event(50, unusual={1: 2}), *events[50:]]
    pieces = cut(sent(answer(value), answer(5, OTHER)), 1000)
    clock, broker = receiver.clock, receiver.broker
    for piece in pieces:
        broker.dataReceived(piece)
    turns = 0
    while OTHER not in receiver.outcomes:
        assert broker.transport.producerState == "paused", "nothing is read meanwhile"
        one_turn(clock)
        turns += 1
    assert turns >= len(pieces) - 2
    assert broker.transport.producerState == "producing"
    assert receiver.outcomes == Receiver(GuardedBroker).receive(pieces).outcomes
    assert receiver.outcomes[REQUEST].startswith(b"BZ")
    assert broker.tub.held.total == 0


@pytest.mark.parametrize("by_us", [True, False])
def test_a_connection_that_ends_while_something_is_given_back_leaves_nothing(by_us):
    receiver = Receiver(FastBroker)
    for piece in cut(sent(answer((*LARGE, 5))), 1000):
        receiver.broker.dataReceived(piece)
    if by_us:
        receiver.broker.cut("for a test")
        one_turn(receiver.clock)
    assert bool(receiver.broker._again) is not by_us
    receiver.broker.connectionLost()
    assert not [call for call in receiver.clock.getDelayedCalls() if call.func == receiver.broker._receive_again]
    assert not receiver.broker._again
    assert receiver.broker.tub.held.total == 0


def test_a_connection_that_ends_in_the_midst_of_an_answer_fails_it():
    for kind in (GuardedBroker, FastBroker):
        receiver = Receiver(kind)
        receiver.receive(cut(sent(answer(LARGE)), 1000)[:20])
        receiver.broker.connectionLost()
        receiver.broker.dataReceived(b"\x00")
        assert receiver.broker.waitingForAnswers.keys() <= {REQUEST, OTHER, AFTER}
        assert receiver.broker.tub.held.total == 1


# ---- anything ----------------------------------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**90), 2**90)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["list", "none", "x" * 200, 2**2000])
)
KEYS = st.sampled_from([st.text(max_size=8), st.binary(max_size=8), st.integers(0, 3)])  # Foolscap sorts them


def twice(values):
    """Containers in which one value stands twice, so that the second refers to the first."""
    return values.flatmap(lambda value: st.sampled_from([[value, value], (value, [value]), {"a": value, "b": [value]}]))


VALUES = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=4)
        | st.tuples(values, values)
        | KEYS.flatmap(lambda keys: st.dictionaries(keys, values, max_size=4))
        | st.frozensets(st.integers(0, 9), max_size=3)
        | twice(values)
    ),
    max_leaves=20,
)
EVENTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=4)


@given(
    header=st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    events=EVENTS,
    step=st.integers(1, 200),
    first=st.integers(0, 20_000),
)
def test_hypothesis_finds_no_incident_that_the_two_see_differently(header, events, step, first):
    whole = {**incident()[0], **header}
    compare(cut(sent(answer((whole, events)), answer(5, OTHER), answer((header, events), AFTER), first=first), step))


@given(value=VALUES, step=st.integers(1, 200))
def test_hypothesis_finds_no_answer_that_the_two_see_differently(value, step):
    compare(cut(sent(answer(value), answer(value, OTHER)), step))


@given(head=st.binary(min_size=HEAD, max_size=HEAD), what=st.binary(max_size=40))
def test_hypothesis_finds_no_hostile_stream_that_the_two_see_differently(head, what):
    one_input(head + what)

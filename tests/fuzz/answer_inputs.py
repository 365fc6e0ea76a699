"""What nodes answer, as bytes, and what becomes of it: by Foolscap's own decoder and by ours, which must not differ.

Streams are made by real Foolscap brokers, and received by ours. `one_input` is what the fuzzer tries: its first bytes choose
a stream, how it is cut and what is changed in it, the rest is put into it.
"""

import random
import time
from pathlib import Path
from types import SimpleNamespace

from foolscap import call
from foolscap.broker import Broker
from foolscap.ipb import ITub
from foolscap.logging.interfaces import RILogPublisher
from foolscap.tokens import RemoteException
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.answers import broker as fast_broker
from lae_monitor.kinds.incidents.answers.banana import Incident, Unusual
from lae_monitor.kinds.incidents.answers.broker import FastBroker
from lae_monitor.kinds.incidents.wire.flog import pack
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.net.tubs.broker import GuardedBroker, Held, TooLarge

PARAMETERS = {"initial-vocab-table-index": 1}
GET = RILogPublisher["get_incident"]
PONG = b"\x8f"  # which changes nothing, wherever it comes
REQUEST, OTHER, AFTER = 1, 2, 3  # of an incident, of something else, and of one more incident


class Transport(StringTransport):
    def abortConnection(self):
        self.disconnecting = True

    def pauseProducing(self):
        """As of TCP: no error when it is closing."""
        self.producerState = "paused"

    def resumeProducing(self):
        self.producerState = "producing"

    def setTcpNoDelay(self, enabled):
        pass


@implementer(ITub)
class Tub(SimpleNamespace):
    """What a broker wants of the tub that it belongs to."""

    def __init__(self):
        super().__init__(
            held=Held(),
            on_unknown=lambda peer: None,
            unsafeTracebacks=False,
            _expose_remote_exception_types=False,
            debugBanana=False,
            logRemoteFailures=False,
            logLocalFailures=False,
            brokerDetached=lambda broker, why: None,
        )


def sent(*messages, first=0, vocabulary=True):
    """The bytes of messages, as a Foolscap broker sends them that has sent `first` objects before."""
    broker = Broker(None, PARAMETERS if vocabulary else {})
    broker.use_remote_broker = False
    broker.makeConnection(Transport())
    broker.openCount = first
    for message in messages:
        broker.send(message)
    return broker.transport.value()


def answer(value, request=REQUEST):
    return call.AnswerSlicer(request, value, "get_incident")


def error(request=REQUEST):
    return call.ErrorSlicer(request, Failure(KeyError("no incident of that name")))


def event(number, **more):
    return {"num": number, "time": 1.7e9 + number, "level": 20, "incarnation": ["00ff", None], **more}


def incident(*events, **trigger):
    header = {"type": "incident", "trigger": event(0, level=30, **trigger), "versions": {b"foolscap": b"1"}, "pid": 1}
    return header, list(events)


# ---- receiving ---------------------------------------------------------------------------------------------------------


class Receiver:
    """Our end of a connection, which has asked for an incident, for something else, and for another incident."""

    def __init__(self, kind, vocabulary=True):
        self.clock = fast_broker.reactor = Clock()
        self.outcomes = {}
        self.decoded_here = 0
        self.broker = broker = kind(None, PARAMETERS if vocabulary else {})
        broker.logReceiveErrors = False
        broker.setTub(Tub())
        broker.use_remote_broker = False
        broker.makeConnection(Transport())
        broker._admitted = True
        for number, method in ((REQUEST, "get_incident"), (OTHER, "get_pid"), (AFTER, "get_incident")):
            request = call.PendingRequest(number, None, RILogPublisher.__remote_name__, method)
            request.setConstraint(RILogPublisher[method].getResponseConstraint())
            broker.addRequest(request)
            request.deferred.addCallbacks(self._note, self._note_failure, [number], {}, [number], {})

    def _note(self, result, number):
        assert number not in self.outcomes
        self.decoded_here += isinstance(result, Incident)
        self.outcomes[number] = result if number == OTHER else packed(result)

    def _note_failure(self, failure, number):
        assert number not in self.outcomes
        value = failure.value
        if isinstance(value, RemoteException):
            value = value.failure.value
        # Where it was refused says how far Foolscap has come, which is no part of why.
        self.outcomes[number] = type(value).__name__, value.args[0] if isinstance(value, TooLarge) else str(value)

    def receive(self, pieces):
        for piece in pieces:
            self.broker.dataReceived(piece)
            self._rest()
        return self

    def _rest(self):
        while self.clock.getDelayedCalls() and self.clock.getDelayedCalls()[0].getTime() <= self.clock.seconds():
            self.clock.advance(0)

    def has_answer_on_its_way(self):
        return getattr(self.broker, "_answer", None) is not None

    def give_up(self):
        """Has Foolscap decode what is not whole: whatever is said of it, it has the last word."""
        if self.has_answer_on_its_way():
            self.broker._answer.decoder.feed = _unusual
            self.broker.receive(PONG)
            self._rest()
        assert not self.has_answer_on_its_way()
        return self

    def state(self):
        """Whatever decides how the connection goes on."""
        broker = self.broker
        return {
            "outcomes": self.outcomes,
            "waiting": sorted(broker.waitingForAnswers),
            "objects": broker.objectCounter,
            "discarding": broker.discardCount,
            "skipping": broker.skipBytes,
            "in open": broker.inOpen,
            "open": [type(unslicer).__name__ for unslicer in broker.receiveStack],
            "buffer": len(broker.buffer),
            "abandoned": broker.connectionAbandoned,
            "sent": broker.transport.value(),
            "ended": broker.transport.disconnecting,
            "held": broker.held,
            "calls": len(broker.inboundDeliveryQueue),
            "paused": broker.transport.producerState,
        }


def _unusual(_chunk):
    raise Unusual


def packed(result):
    """As it is stored, or why it is not."""
    if isinstance(result, Incident) and result.memory is not None:
        plain = Plain(1 << 40)
        for value in (result.header, *result.events):
            assert plain.of(value) == value or "nan" in repr(value)
        assert plain._limit - plain._budget <= result.memory
    try:
        return b"".join(pack(result, "tub", 1.0).chunks)
    except Refused as refused:
        return refused.code


def cut(data, step):
    return [data[at : at + step] for at in range(0, len(data), step)]


def compare(pieces, vocabulary=True):
    """Asserts that it makes no difference who decodes; returns what became of it, and how much ours decoded."""
    slow = Receiver(GuardedBroker, vocabulary).receive(pieces)
    fast = Receiver(FastBroker, vocabulary).receive(pieces)
    if fast.has_answer_on_its_way():
        fast.give_up()
        slow.broker.receive(PONG)
    assert fast.state() == slow.state()
    return fast.outcomes, fast.decoded_here


# ---- what the fuzzer tries ---------------------------------------------------------------------------------------------

SLOW = 2.0  # seconds of CPU time for one input, by both decoders
SHARED = ["shared"]
STREAMS = [
    sent(answer(incident(event(0, message="a", facility="b"), event(1, format="%(c)s", c="d" * 200)))),
    sent(
        answer(incident(event(0, stats={b"a": b"\xff", b"list": "list"}, big=2**80, small=-(2**40), nan=float("nan"))))
    ),
    sent(answer(incident(event(0, one=SHARED, two=[SHARED, (SHARED, True, False)], three={1, 2}, four=-7)))),
    sent(answer(5, OTHER), answer(incident(event(0))), error(AFTER), first=1000),
    sent(answer(incident(event(0, message="unicode"))), answer(incident(event(1)), AFTER), answer(5, OTHER), first=130),
    sent(answer(incident(event(0, deep=[[[[{"a": [None, [[]], {}]}]]]])))),
]
HEAD = 6  # bytes of an input that say what is done with the rest


def changed(data):
    """A stream, and how it is cut, as an input says."""
    stream = STREAMS[data[0] % len(STREAMS)]
    at, length = int.from_bytes(data[1:3], "big") % (len(stream) + 1), data[3]
    step = data[5] or len(stream)
    how, what = data[4] % 4, data[HEAD:]
    if how == 0:
        stream = stream[:at] + what + stream[at + len(what) :]
    elif how == 1:
        stream = stream[:at] + what + stream[at:]
    elif how == 2:
        stream = stream[:at] + what + stream[at + length :]
    else:  # a part of it once more
        stream = stream[:at] + what + stream[max(at - length, 0) :]
    return cut(stream, step)


def one_input(data):
    if len(data) < HEAD:
        return
    pieces = changed(data)
    began = time.process_time()
    compare(pieces)
    assert time.process_time() - began < SLOW


def seeds(folder: Path):
    """Inputs from which the fuzzer starts."""
    choose = random.Random(1)
    for number in range(len(STREAMS) * 4):
        head = bytes(
            [
                number % len(STREAMS),
                *choose.randbytes(2),
                choose.randrange(8),
                number // len(STREAMS),
                choose.choice((0, 1, 7)),
            ]
        )
        what = choose.choice(
            (b"", b"\x8a", b"\x8e", b"\x00\x88\x00\x87\x00\x89", b"\x88\x02\x87\x03\x81\x89", b"\x7f\x82", b"\x01\x83")
        )
        (folder / str(number)).write_bytes(head + what)

"""Has a FURL, and speaks Banana as no node does: hostile_peer.py FURL LOGDIR MODE [COUNT]. Prints `sent` when it is done.

Tokens as Foolscap's banana.py has them: 0x88 opens, 0x89 closes, 0x87 is a word of the table, 0x82 a text, 0x81 a number.
"""

import sys

from foolscap.api import Tub
from foolscap.constraint import Any
from foolscap.logging.interfaces import RILogPublisher
from foolscap.logging.log import FoolscapLogger
from foolscap.logging.publish import IncidentSubscription, LogPublisher
from node_identity import new_identity
from twisted.internet import defer, reactor

NAME = b"incident-2026-11-20--10-00-01Z-abcdefg"
PAUSE = 0.001  # seconds between two pieces
REFERENCE, DICT, LIST, TUPLE, CALL, ARGUMENTS, ANSWER = (
    bytes([word]) + b"\x87" for word in (0x02, 0x03, 0x04, 0x05, 0x0B, 0x0C, 0x0D)
)


def number(value):
    digits = b""
    while value:
        digits += bytes([value & 127])
        value >>= 7
    return digits


def text(value):
    return number(len(value)) + b"\x82" + value


class Peer(LogPublisher):
    """Subscribes the gatherer, announces an incident where there is something to answer, and does its worst."""

    def remote_subscribe_to_incidents(self, observer, catch_up=False, since=""):
        RILogPublisher["get_incident"].responseConstraint = Any()
        print("asked since", since, flush=True)
        self.observer = observer
        observer.callRemoteOnly("done_with_incident_catchup")
        if self.worst in ANSWERS:
            observer.callRemoteOnly("new_incident", NAME, {"message": "?"})
        else:
            reactor.callLater(0.2, lambda: self.send(CALLS[self.worst](self)))
        return IncidentSubscription(observer, self._logger, self)

    @property
    def broker(self):
        return next(iter(self.tub.brokers.values()))

    def remote_get_incident(self, name):
        broker = self.broker

        def answer(_value, delivery):
            self.send(ANSWERS[self.worst](delivery.reqID, self.count))

        broker._callFinished = answer
        return defer.succeed(None)

    def send(self, pieces):
        pieces = iter(pieces)

        def more():
            for piece in pieces:
                self.broker.transport.write(piece)
                reactor.callLater(PAUSE, more)
                return
            print("sent", flush=True)

        more()

    def call(self, method, *arguments, target=None, request=0):
        whom = self.observer.tracker.clid if target is None else target
        given = b"\x88" + ARGUMENTS + number(len(arguments)) + b"\x81" + b"".join(arguments) + b"\x89"
        return b"\x88" + CALL + number(request) + b"\x81" + number(whom) + b"\x81" + text(method) + given + b"\x89"


# ---- answers -------------------------------------------------------------------------------------------------------


def many_values(request, count, first=b""):
    """Twelve MiB of empty lists in one event's value: each takes many times its four bytes."""
    yield b"\x05\x88" + ANSWER + number(request) + b"\x81\x01\x88" + TUPLE + b"\x02\x88" + DICT + b"\x02\x89"
    yield b"\x03\x88" + LIST + b"\x04\x88" + DICT + b"\x01\x82a" + b"\x05\x88" + LIST + first
    piece = (b"\x88" + LIST + b"\x89") * 16_000
    for _ in range(count // 16_000):
        yield piece
    yield b"\x05\x89\x04\x89\x03\x89\x01\x89\x05\x89"


def many_values_slowly(request, count):
    """With something before them that leaves the answer to Foolscap's own decoder: a number of 200 bytes."""
    yield from many_values(request, count, number(200) + b"\x85" + b"a" * 200)


# ---- calls ---------------------------------------------------------------------------------------------------------


def holds_itself(peer):
    """A call whose argument is a tuple that holds itself, which is never ready; and many large ones behind it."""
    broker = peer.broker
    itself = b"\x88" + TUPLE + b"\x88" + REFERENCE + number(broker.openCount + 2) + b"\x81\x89\x89"
    yield peer.call(b"new_incident", itself, b"\x88" + DICT + b"\x89")
    for _ in range(peer.count):
        yield peer.call(b"new_incident", text(NAME), b"\x88" + DICT + b"\x01\x82a" + text(b"x" * 1_000_000) + b"\x89")


def never_reads(peer):
    """Asks for things that there are not, and reads no answer."""
    transport = peer.broker.transport

    def deaf():
        reactor.removeReader(transport)
        reactor.callLater(0.01, deaf)

    deaf()
    for turn in range(peer.count):
        yield b"".join(
            peer.call(b"getReferenceByName", text(b"nobody%d" % number_), target=0, request=number_ + 1)
            for number_ in range(turn * 100, turn * 100 + 100)
        )


def nonsense(peer):
    """Violations, each of which Foolscap logs with a traceback."""
    for _ in range(peer.count):
        yield peer.call(b"no_such_method", text(b"x"))


ANSWERS = {"many_values": many_values, "many_values_slowly": many_values_slowly}
CALLS = {"holds_itself": holds_itself, "never_reads": never_reads, "nonsense": nonsense}

if __name__ == "__main__":
    furl, folder, worst, count = sys.argv[1:5]
    logger = FoolscapLogger()
    logger.setLogDir(folder)
    tub = Tub(certData=new_identity())
    tub.logger = logger
    tub._logport = Peer(logger)
    tub._logport.tub, tub._logport.worst, tub._logport.count = tub, worst, int(count)
    tub.setLocation("tcp:127.0.0.1:1")
    tub.setOption("log-gatherer-furl", furl)
    tub.startService()
    reactor.run()

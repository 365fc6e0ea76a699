"""A program with a Foolscap log publisher, good or bad: publisher.py FURL LOGDIR [MODE].

Reads commands from standard input, a JSON object a line, whose keys are those of FoolscapLogger.msg(); each becomes an
event. Prints `asked NAME` when an incident is asked for. Ends when its standard input does.

Modes: what it announces, and answers to get_incident, where that is not what Foolscap would do.
"""

import itertools
import json
import os
import sys

from foolscap import banana
from foolscap.api import Tub
from foolscap.constraint import Any
from foolscap.logging.incident import IncidentReporter, NonTrailingIncidentReporter
from foolscap.logging.interfaces import RILogPublisher
from foolscap.logging.log import FoolscapLogger
from foolscap.logging.publish import IncidentSubscription, LogPublisher
from node_identity import new_identity
from twisted.internet import defer, protocol, reactor, stdio, task
from twisted.protocols import basic


def event(number, **more):
    return {"num": number, "time": 1700000000.0 + number, "level": 20, "incarnation": ["00ff", None], **more}


RUNS = itertools.count(1)


def incident(events, **trigger):
    """Of a run of its own each: two incidents of one trigger would be one."""
    first = {**event(0, message="x", level=30, **trigger), "incarnation": [f"{next(RUNS):016x}", None]}
    header = {"type": "incident", "trigger": first, "versions": {}, "pid": 1}
    return header, events


def laughs():
    """Ten references to ten references to ... : small on the wire, larger than any disk when written out."""
    value = ["ha"]
    for _ in range(20):
        value = [value] * 10
    return value


def deep():
    value = []
    for _ in range(200):
        value = [value]
    return value


HUGE = 4_000_000  # bytes of a number; Foolscap itself would take minutes to send it, and to receive it
banana.long_to_bytes = lambda number: number.to_bytes((number.bit_length() + 7) // 8, "big")

NAME = "incident-2026-11-20--10-00-0{}Z-abcdefg"

LARGE = "x" * 10_000_000

# mode -> {name announced: what is answered}
ANSWERS = {
    "hostile_names": {
        name: incident([event(0, message="never asked for")])
        for name in (
            b"incident-2026-11-20--10-00-00Z-\nincident-evil",
            b"incident-../../../../etc/passwd",
            b"../../latest",
            b"incident-" + b"a" * 65536,
            b"incident-\xff\xfe",
            b"incident-\x00",
            b"",
            17,
            None,
        )
    }
    | {NAME.format(1).encode(): incident([event(0, message="good among bad")])},
    "strange_values": {
        NAME.format(0).encode(): incident(
            [
                event(0, message="bytes as keys", stats={b"a": b"\xff\xfe", b"b": {b"c": 1}}),
                event(1, message="not a number", value=float("nan"), more=float("inf")),
                event(
                    2,
                    message="nested",
                    value=[[[{"a": ({"b": None},)}]]],
                    flags={1, 2},
                    big=2**4000,
                    huge=[2 ** (8 * HUGE)],
                ),
                event(3, format="%(who)s did %(what)d", who="café", what=7),
                {b"num": 4, b"message": b"all bytes", b"time": 1700000004.0, b"incarnation": [b"00ff", None]},
            ],
            failure={
                "@": "Failure",
                "str": "[Failure instance: <class 'ValueError'>: no]",
                "repr": "r",
                "traceback": "t",
            },
        )
    },
    "too_large": {
        NAME.format(1): incident([event(number, message="é" * 200_000) for number in range(10)]),
        NAME.format(2): incident([event(number, message="x" * 20_000_000) for number in range(2)]),
        NAME.format(3): incident([event(0, value=laughs())]),
        NAME.format(4): incident([event(0, value=deep())]),
        NAME.format(5): incident([event(0, message="small enough")]),
    },
    "enormous": {  # 200 MB; held once here
        NAME.format(1): incident([event(number, message=LARGE) for number in range(20)]),
        NAME.format(2): incident([event(0, message="small enough")]),
    },
    "malformed": {
        NAME.format(0): "no incident",
        NAME.format(1): ({"type": "gatherer"}, [event(0)]),
        NAME.format(2): ({"type": "incident", "trigger": 5}, [event(0)]),
        NAME.format(3): incident([]),
        NAME.format(5): incident([event(0, value={(1, (2, 3)): 4})]),
        NAME.format(4): incident([event(0, message="well formed")]),
    },
    "dies": {NAME.format(0): incident([event(number, message="x" * 200_000) for number in range(40)])},
    "unavailable": {NAME.format(0): None, NAME.format(1): incident([event(0, message="at last")])},
    "stalls": {NAME.format(0): None},
}


class ShortReporter(IncidentReporter):
    TRAILING_DELAY = 2.0


class Publisher(LogPublisher):
    """Announces and answers as the mode says."""

    mode = ""
    asked = 0

    def remote_subscribe_to_incidents(self, observer, catch_up=False, since=""):
        print("asked since", since.decode(), flush=True)
        if self.mode in ANSWERS:
            RILogPublisher["get_incident"].responseConstraint = Any()
            observer.callRemoteOnly("done_with_incident_catchup")
            for name in ANSWERS[self.mode]:
                observer.callRemoteOnly("new_incident", name, {"message": "?"})
            return IncidentSubscription(observer, self._logger, self)
        if self.mode == "recording":
            self._logger.msg("something odd", level=30)
            reactor.callLater(1.0, self._logger.msg, "what came after it")
        return LogPublisher.remote_subscribe_to_incidents(self, observer, catch_up, since)

    def remote_get_incident(self, name):
        print("asked", name.decode(), flush=True)
        answers = ANSWERS.get(self.mode)
        self.asked += 1
        if self.mode == "stalls_at_second" and self.asked == 2:
            return defer.Deferred()
        if answers is None:
            return LogPublisher.remote_get_incident(self, name)
        if self.mode == "stalls":
            return defer.Deferred()
        if self.mode == "unavailable" and (name == NAME.format(0).encode() or self.asked < 5):
            raise KeyError("no incident of that name, or not now")
        if self.mode == "dies":
            reactor.callLater(0, os._exit, 9)  # with the answer half sent
        return answers[name] if name in answers else answers[name.decode()]


class Commands(basic.LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, logger):
        self.logger = logger

    def lineReceived(self, line):
        self.logger.msg(**json.loads(line))

    def connectionLost(self, reason=protocol.connectionDone):
        if reactor.running:
            reactor.stop()


def watch(tub, seen):
    """Says when it is connected, and when no more."""
    now = "connected" if tub.brokers else "disconnected"
    if seen[-1:] != [now]:
        seen.append(now)
        print(now, flush=True)


def main(furl, folder, mode="", count="1"):
    tubs = []
    for number in range(int(count)):
        logger = FoolscapLogger()
        logger.setIncidentReporterFactory(ShortReporter if mode == "recording" else NonTrailingIncidentReporter)
        logger.setLogDir(folder if number == 0 else f"{folder}-{number}")
        tub = Tub(certData=new_identity())
        tub.logger = logger
        tub._logport = Publisher(logger)
        tub._logport.mode = mode
        tub.setLocation("tcp:127.0.0.1:1")
        tub.setOption("log-gatherer-furl", furl)
        tub.startService()
        tubs.append((tub, logger))
    if mode == "watches":
        task.LoopingCall(watch, tubs[0][0], []).start(0.05)
    stdio.StandardIO(Commands(tubs[0][1]))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A program whose log is worth following: logs_publisher.py FURL LOGDIR RUN. The run "stalls" answers no
subscription.

Reads commands from standard input, a JSON object a line: those with "do" are named here, the others are the keys of
FoolscapLogger.msg(). Prints `did WHAT` after each, `connected` and `subscribers N` when that changes. Ends when its standard
input does.
"""

import json
import sys

from foolscap.api import Tub
from foolscap.logging.log import FoolscapLogger
from foolscap.logging.publish import LogPublisher
from node_identity import new_identity
from twisted.internet import reactor, stdio, task
from twisted.internet.defer import Deferred
from twisted.protocols import basic
from twisted.python.failure import Failure


class Commands(basic.LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, logger, tub):
        self.logger = logger
        self.tub = tub

    def lineReceived(self, line):
        command = json.loads(line)
        what = command.pop("do", None)
        if what is None:
            self.logger.msg(**command)
        else:
            getattr(self, what)(**command)
        print("did", what, flush=True)

    def connectionLost(self, reason=None):
        if reactor.running:
            reactor.stop()

    def many(self, count, **event):
        for number in range(count):
            self.logger.msg(format="event %(which)d of many", which=number, **event)

    def strange(self):
        self.logger.msg("bytes as keys", level=30, stats={b"a": b"\xff\xfe", b"b": {b"c": 1}})
        self.logger.msg("not a number", level=30, value=float("nan"), more=(1, {2}))
        try:
            raise ValueError("of pb://ddddddddddddddddddddddddddddddd2@tcp:1.2.3.4:5/secretsecret")
        except ValueError:
            self.logger.err(Failure(), "why it failed", level=35)
        self.logger.msg("failure as text", level=30, failure="only text")
        self.logger.msg("large", level=30, value="x" * 200_000)

    def skip(self, count):
        """As if so many events had found no place in the queue."""
        for _ in range(count):
            self.logger.seqnum.next()

    def leave(self):
        """Loses the connection; Foolscap makes another one."""
        for broker in list(self.tub.brokers.values()):
            broker.transport.abortConnection()

    def bad(self):
        """Events that are none, and calls without end, from a program that is no friend."""
        for observer in self.observers():
            observer.callRemoteOnly("msg", {"message": "no number", "level": 40})
            observer.callRemoteOnly("msg", {"num": -1, "time": 1e300, "level": 40})
            observer.callRemoteOnly("msg", {1: 2})

    def observers(self):
        return [one.__self__.observer for one in self.logger._immediate_observers]

    def rain(self, count):
        for observer in self.observers():
            for number in range(count):
                observer.callRemoteOnly("msg", {"num": number, "time": 1.7e9, "incarnation": ["rain", None]})


class Stalling(LogPublisher):
    def remote_subscribe_to_all(self, observer, catch_up=False):
        print("asked", flush=True)
        return Deferred()


def watch(logger, tub, seen):
    now = f"subscribers {len(logger._immediate_observers)}"
    if seen[-1:] != [now]:
        seen.append(now)
        print(now, flush=True)


def main(furl, folder, run=""):
    logger = FoolscapLogger()
    logger.setLogDir(folder)
    if run:
        logger.incarnation = (run, None)
    tub = Tub(certData=new_identity())
    tub.logger = logger
    tub._logport = (Stalling if run == "stalls" else LogPublisher)(logger)
    tub.setLocation("tcp:127.0.0.1:1")
    tub.setOption("log-gatherer-furl", furl)
    logger.msg("before anybody listened", level=25, facility="test/start", umid="bEf0rE")
    tub.startService()
    task.LoopingCall(watch, logger, tub, []).start(0.05)
    stdio.StandardIO(Commands(logger, tub))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

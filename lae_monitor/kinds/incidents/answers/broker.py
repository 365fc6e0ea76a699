# mypy: disable-error-code="no-untyped-call"
"""A connection whose incidents do not go through Foolscap's decoder, which takes half a millisecond an event.

    head of an answer ──► Foolscap ──► is get_incident asked? ──► ours ──► banana.Incident
                                                                   │ Unusual
                                              Foolscap, from the head on, as if nothing had been

Neither do the names of incidents, see names.py.

Import this only after `tubs.start_reactor()`.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from foolscap.referenceable import Referenceable
from foolscap.tokens import BananaFailure
from foolscap.vocab import INITIAL_VOCAB_TABLES
from twisted.internet import reactor as twisted_reactor
from twisted.internet.protocol import connectionDone

from lae_monitor.kinds.incidents.answers.banana import Decoder, TooMuch, Unusual
from lae_monitor.kinds.incidents.answers.names import named, next_named
from lae_monitor.net.tubs.broker import GuardedBroker, TooLarge

log = logging.getLogger(__name__)

reactor: Any = twisted_reactor

ASKED: Final = ("RILogPublisher.foolscap.lothar.com", "get_incident")  # whose answers are large
WORDS: Final = INITIAL_VOCAB_TABLES[1]

_TABLE: Final = dict(enumerate(WORDS))


class NamesOnly(Referenceable):
    """An observer of incidents that wants their names: it gets None for the triggers.

    Its remote_new_incident never raises. It may be called before what Foolscap has queued for the same connection.
    """

    remote_new_incident: Callable[[Any, Any], None]


@dataclass(slots=True)
class _Answer:
    """An answer that is on its way. `pieces` are its bytes after the head, and what follows it."""

    count: int
    number: int
    decoder: Decoder
    pieces: list[bytes] = field(default_factory=list)


class FastBroker(GuardedBroker):
    """A guarded connection that decodes incidents itself."""

    waitingForAnswers: dict[int, Any]  # noqa: N815 - Foolscap's name

    _answer: _Answer | None = None
    _after_head = b""  # what came with the head of an answer
    _again: deque[bytes]  # what Foolscap is to decode after all: a piece at a time, for others go on meanwhile
    _timer: Any = None

    def connectionMade(self) -> None:  # noqa: N802
        self._again = deque()
        super().connectionMade()

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802
        self._answer = None
        self._again.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connectionLost(reason)

    # ---- receiving -------------------------------------------------------------------------------------------------

    def handleOpen(self, openCount: int, objectCount: int, indexToken: Any) -> None:  # noqa: N802, N803
        if len(self.receiveStack) == 1 and indexToken == b"call" and self._take_names(openCount, objectCount):
            return
        if len(self.receiveStack) > 1 or indexToken != b"answer" or not self._awaits_incident():
            super().handleOpen(openCount, objectCount, indexToken)
            return
        self.inOpen = False
        self._answer = _Answer(openCount, objectCount, Decoder(openCount, objectCount + 1, WORDS))
        self._after_head = self.buffer.popleft(len(self.buffer))  # nothing is left to Foolscap

    def _take_names(self, count: int, number: int) -> bool:
        """Hands on the names at the front of what has come; returns whether there were any."""
        if self.incomingVocabulary != _TABLE:
            return False
        data = self.buffer.popleft(len(self.buffer))
        taken = 0
        found = named(data, 0, count, number + 1, WORDS)
        while found is not None and isinstance(observer := self._object(found.target), NamesOnly):
            taken = found.end
            self.inOpen = False
            self.objectCounter = found.number
            observer.remote_new_incident(found.name, None)
            found = next_named(data, taken, found.number, WORDS)
        self.buffer.appendleft(data[taken:])
        if taken:
            self.hold(0)
        return taken > 0

    def _object(self, number: int) -> Any:
        tracker = self.myReferenceByCLID.get(number)
        return tracker.obj if tracker is not None else None

    def _awaits_incident(self) -> bool:
        return self.incomingVocabulary == _TABLE and any(map(_is_incident, self.waitingForAnswers.values()))

    def handleData(self, chunk: bytes) -> None:  # noqa: N802
        if self._answer is not None:
            chunk = self._decode(self._answer, chunk)
        while self._answer is None:
            super().handleData(chunk)
            if self._answer is None:
                return
            chunk = self._decode(self._answer, self._after_head)

    def _decode(self, answer: _Answer, chunk: bytes) -> bytes:
        """What is left to Foolscap: what comes after the answer, or the answer itself."""
        answer.pieces.append(chunk)
        decoder = answer.decoder
        try:
            is_whole = decoder.feed(chunk)
        except TooMuch:
            self.refuse_message("its values take too much memory")
            return b""
        except Unusual:
            return self._give_back(answer)
        if decoder.request is None:
            return b""
        request = self.waitingForAnswers.get(decoder.request)
        if request is None or not _is_incident(request):
            return self._give_back(answer)
        if not is_whole:
            return b""
        self._answer = None
        self.objectCounter = decoder.number
        self.hold(0)
        request.complete(decoder.incident)
        return decoder.rest()

    def _give_back(self, answer: _Answer) -> bytes:
        self._answer = None
        self.inOpen, self.opentype = True, []
        super().handleOpen(answer.count, answer.number, b"answer")
        first, *others = answer.pieces
        if others:
            self._again.extendleft(reversed(others))
            if self._timer is None:
                self.transport.pauseProducing()
                self._timer = reactor.callLater(0, self._receive_again)
        return first

    def dataReceived(self, chunk: bytes) -> None:  # noqa: N802
        if self._again:
            self.hold(self.held + len(chunk))
            self._again.append(chunk)
        else:
            super().dataReceived(chunk)

    def _receive_again(self) -> None:
        self._timer = None
        try:
            if self._again:
                self.receive(self._again.popleft())
        except Exception:
            log.exception("what came over a connection")
            self.cut("failed here")  # as Twisted does, when it comes from the network
        if self.disconnected or self.connectionAbandoned:
            self._again.clear()
        if self._again:
            self._timer = self._timer or reactor.callLater(0, self._receive_again)
        else:
            self.transport.resumeProducing()

    # ---- limits ----------------------------------------------------------------------------------------------------

    def is_between_messages(self) -> bool:
        return self._answer is None and super().is_between_messages()

    def refuse_message(self, why: str) -> None:
        if self._answer is None:
            super().refuse_message(why)
            return
        decoder = self._answer.decoder
        self._answer = None
        self.objectCounter = decoder.number
        self.discardCount = decoder.depth
        request = self.waitingForAnswers.get(decoder.request or 0)
        if request is not None:
            request.fail(BananaFailure(TooLarge(why)))
        self.handleData(decoder.rest())
        self.hold(0)


def _is_incident(request: Any) -> bool:
    return bool(request.getMethodNameInfo() == ASKED)

"""Classifies what is stored, in the background: what comes first, then what has no category, then all of it by new rules.

    stored incident ──► child process ──► journal (durable) ──► classified/<category> ──► classified.json
                        rules, classifiers        │
                                                  └──► the mover: the table `categories`

Each step may be lost with the process, and is done again. Only answers that changed are written to the journal.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Final

from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import HOUR, Clock
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.incidents.classify.frames import Opinion
from lae_monitor.kinds.incidents.classify.lists import Item, Lists, Mark, stored_items, stored_places
from lae_monitor.kinds.incidents.classify.process import ChildFailed, Classifier
from lae_monitor.kinds.incidents.classify.rules import UNKNOWN
from lae_monitor.kinds.incidents.classify.sources import Sources, checked, places_of, read_sources
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import path_of
from lae_monitor.kinds.incidents.wire.flog import MAX_INFLATED
from lae_monitor.kinds.rule_files.file import InForce

log = logging.getLogger(__name__)

UNREADABLE: Final = "unreadable"  # the category of a file that is no incident
LOOK_EVERY: Final = 2.0  # seconds between looks whether rules changed, or lists were deleted
WALK_EVERY: Final = HOUR  # other programs put incidents there, too, and take some away
BATCH: Final = 100  # incidents that are written down together
BATCH_TIME: Final = 1.0  # seconds after which what was classified is written down
SAVE_REST: Final = 10.0  # times as long as writing the lists took, they rest: those of a large archive are long
MIN_REST: Final = 0.5  # seconds
IDLE: Final = 60.0  # seconds without a question until the child ends
AGAIN: Final = 5.0  # seconds after something failed
MAX_NEW: Final = 100_000  # incidents that wait; the next walk finds those that were forgotten
MAX_TOLD: Final = 1_000  # troubles that were told, and are not told again


class Classifying:
    """The job of one gatherer. `run()` is a task of its own; `stored()` tells it of what is new."""

    def __init__(self, context: Context) -> None:
        own = context.settings.gatherers["incidents"]
        self._archive = context.archive
        self._journal = context.journal
        self._clock: Clock = context.clock
        places = places_of(context.settings)
        self._sources: InForce[Sources, Sources | None] = InForce(
            "classification rules", lambda: read_sources(places), checked, (None, None), context.clock
        )
        self._limit = float(own.classify_limit)
        self._lists = Lists(context.archive)
        self._classifier: Classifier | None = None
        self._new: deque[Item] = deque(maxlen=MAX_NEW)
        self._backlog: list[Item] = []  # the newest last
        self._done = 0  # of the backlog
        self._wake = asyncio.Event()
        self._told: set[str] = set()
        self._saved = (0.0, MIN_REST)  # when the lists were written, and how long they rest then

    def stored(self, place: Place, span: Span) -> None:
        """Told of an incident that is newly stored."""
        name = span.path.rpartition("/")[2].removesuffix(SUFFIX)
        self._new.append(Item(name, *place))
        self._wake.set()

    # ---- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Classifies until it is cancelled. Whatever fails is logged, and tried again."""
        loaded, walked, looked, used = False, -WALK_EVERY, -LOOK_EVERY, 0.0
        time = asyncio.get_running_loop().time
        while True:
            try:
                if not loaded:
                    log.info("classifying stored incidents")
                    await self._add(await self._lists.load())
                    loaded = True
                if time() - looked >= LOOK_EVERY:
                    await self._look()
                    looked = time()
                if self._classifier is not None and time() - walked >= WALK_EVERY:
                    await self._walk(first=walked < 0)
                    walked = time()
                if await self._classify_batch():
                    used = time()
                await self._save_if_due()
                if not self._has_work:
                    if self._classifier is not None and time() - used > IDLE:
                        await self._classifier.stop()
                    await self._wait(LOOK_EVERY if not self._lists.is_changed else MIN_REST)
            except (ChildFailed, OSError, Refused) as error:
                log.warning("classifying stored incidents goes on in %g s: %s", AGAIN, error)
                await asyncio.sleep(AGAIN)
            except Exception:
                log.exception("classifying stored incidents goes on in %g s", AGAIN)
                await asyncio.sleep(AGAIN)

    async def stop(self) -> None:
        """Ends the child, and writes the lists. To be called once `run()` was cancelled."""
        if self._classifier is not None:
            await self._classifier.stop()
        with suppress(Refused, OSError):
            await self._lists.save()

    @property
    def _has_work(self) -> bool:
        return self._classifier is not None and bool(self._new or self._backlog)

    async def _wait(self, seconds: float) -> None:
        self._wake.clear()
        if self._new and self._classifier is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may swallow a cancellation
                await self._wake.wait()

    # ---- what to do --------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Takes new rules, if there are some; what was deleted of the lists has to be classified again."""
        sources = await asyncio.to_thread(self._sources.current)
        if sources is not None and (self._classifier is None or sources != self._classifier.sources):
            await self._take(sources)
        if gone := await self._lists.deleted():
            log.info("%d incidents are in no list any more: classifying them again", len(gone))
            await self._add(gone)

    async def _take(self, sources: Sources) -> None:
        """Classifies by `sources` from now on."""
        classifier = Classifier(sources, self._limit)
        try:
            loaded = await classifier.start()
        except BaseException:
            await classifier.stop()
            raise
        self._told.clear()
        for name, why in loaded.broken.items():
            log.warning("%s has no opinion: %s", name, why)
        if self._classifier is not None:
            await self._classifier.stop()
            log.info("classifying stored incidents")
        self._classifier = classifier
        await self._begin_again()

    def _tell(self, what: str, message: str, *arguments: object) -> None:
        """Once."""
        if what not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(what)
            log.error(message, *arguments)

    async def _begin_again(self) -> None:
        """What was classified by other rules goes to the backlog."""
        version = self._version
        marks = {cluster: self._lists.mark(cluster) for cluster in self._lists.clusters}

        def older() -> list[Item]:
            return [
                item
                for item in self._lists.items()
                if marks[item.cluster].rules != version or item < marks[item.cluster].down_to
            ]

        await self._add(await asyncio.to_thread(older))

    @property
    def _version(self) -> str:
        return self._classifier.sources.version if self._classifier is not None else ""

    async def _add(self, items: list[Item]) -> None:
        self._backlog = await asyncio.to_thread(lambda: sorted({*self._backlog, *items}))

    async def _walk(self, *, first: bool) -> None:
        """Looks what the archive has."""
        known = 0
        missing: list[Item] = []
        for place in await stored_places(self._archive):
            there = await stored_items(self._archive, place)
            classified = self._lists.names(place)
            new = [item for item in there if item.name not in classified]
            for name in classified - {item.name for item in there}:
                self._lists.put(Item(name, *place), ())  # retention, or an operator, took it away
            missing += new
            known += len(there) - len(new)
        await self._add(missing)
        if first:
            log.info("%d incidents already classified", known)
        if first and not self._backlog:
            self._finished()

    # ---- doing it ----------------------------------------------------------------------------------------------------

    async def _classify_batch(self) -> bool:
        """Classifies some, and writes down what they are; returns whether there were any."""
        if self._classifier is None or not self._has_work:
            return False
        time = asyncio.get_running_loop().time
        began = time()
        answers: dict[Item, list[str]] = {}
        taken: list[Item] = []
        try:
            while (self._new or self._backlog) and len(taken) < BATCH and time() - began < BATCH_TIME:
                is_new = bool(self._new)
                item = self._new.popleft() if is_new else self._backlog.pop()
                taken.append(item)
                self._done += not is_new
                categories = await self._classify(self._classifier, item)
                if categories is not None:
                    answers[item] = categories
            await self._record(answers)
        except BaseException:
            self._new.extend(taken)  # none of it is written down
            raise
        self._advance()
        return True

    async def _classify(self, classifier: Classifier, item: Item) -> list[str] | None:
        """What it is called; None when it is gone."""
        path = path_of(item.place, item.name)
        try:
            data = await self._archive.read(Span(path, 0, MAX_INFLATED))
        except FileNotFoundError:
            self._lists.put(item, ())
            return None
        given_up = classifier.given_up
        opinion = await classifier.classify(item.cluster, item.host, data)
        self._tell_trouble(path, opinion)
        for step in classifier.given_up:
            if step not in given_up:
                log.error("%s is not asked any more until the rules or classifiers change", step)
        if opinion.error:
            log.warning("%s: %s", path, opinion.error)
            return [UNREADABLE]
        return opinion.categories or [UNKNOWN]

    def _tell_trouble(self, path: str, opinion: Opinion) -> None:
        for step, why in opinion.failed.items():
            self._tell(step, "%s has no opinion of %s: %s", step, path, why)
        for step, seconds in opinion.slow.items():
            self._tell(f"slow {step}", "%s is slow: %.1f s for %s", step, seconds, path)

    async def _record(self, answers: dict[Item, list[str]]) -> None:
        """
        Raises:
            Refused: nothing of it was written down.
        """
        changed = {item: found for item, found in answers.items() if self._lists.of(item) != found}
        if changed:
            newest = max(self._lists.mark(item.cluster).time for item in changed)
            # Later than every answer before in any case: a clock that was set back must not make an older one hold.
            now = max(self._clock(), newest + 1e-5)
            entries: list[dict[str, str | float]] = [
                {
                    "time": now, "cluster": item.cluster, "host": item.host, "id": item.name,
                    "categories": ",".join(found), "rules": self._version,
                }
                for item, found in changed.items()
            ]  # fmt: skip
            await self._journal.write_all("categories", entries)
            for cluster in {item.cluster for item in changed}:
                mark = self._lists.mark(cluster)
                self._lists.set_mark(cluster, Mark(rules=mark.rules, down_to=mark.down_to, time=now))
        for item, found in changed.items():
            self._lists.put(item, found)
            log.info("classified %s as [%s]", item.line, ",".join(found))

    def _advance(self) -> None:
        """Notes how far it is."""
        following = self._backlog[-1] if self._backlog else None
        down_to = (following.name, following.cluster, f"{following.host}\0") if following is not None else ("", "", "")
        for cluster in self._lists.clusters:
            mark = Mark(rules=self._version, down_to=down_to, time=self._lists.mark(cluster).time)
            self._lists.set_mark(cluster, mark)
        if not self._backlog and self._done:
            self._finished()

    def _finished(self) -> None:
        log.info("done classifying %d stored incidents", self._done)
        self._done = 0

    async def _save_if_due(self) -> None:
        time = asyncio.get_running_loop().time
        at, rest = self._saved
        if self._lists.is_changed and time() - at >= rest:
            began = time()
            await self._lists.save()
            self._saved = (time(), max(MIN_REST, SAVE_REST * (time() - began)))

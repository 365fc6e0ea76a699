"""Looks every few seconds which conditions hold, raises and ends alarms, and has people told. Nothing that goes wrong here
ends `serve`: it is logged, and looked at again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from lae_monitor.alerts import newness, silence
from lae_monitor.alerts.alarm import Alarm, Condition, raised
from lae_monitor.alerts.deliver import LONGEST_WAIT, Lane
from lae_monitor.alerts.ledger import FILE, Delivery, Expected, Ledger, Message
from lae_monitor.alerts.metrics import HELD, LOOKED, RAISED, WAITING
from lae_monitor.archive import ArchiveError, Journal
from lae_monitor.config import Settings
from lae_monitor.core.kind import load
from lae_monitor.core.names import row_key
from lae_monitor.core.time import DAY, MINUTE, Clock, format_duration, format_time, wall_clock
from lae_monitor.mover import Mover
from lae_monitor.mover.retention import STOPPED, stopped

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 2.0  # seconds
WRITE_EVERY: Final = 30.0  # seconds; when nothing is to be told, what was seen is written down for others only
NEWS_EVERY: Final = 5.0  # seconds between looks for new groups, when something was moved
REFRESH: Final = MINUTE  # when nothing was
HEARD_EVERY: Final = (
    30.0  # seconds between looks who sent something: a third of a second with 3 million events of two weeks
)
HEARD_WITHIN: Final = DAY  # of those looks but the first, which sees two weeks
DEAF_AFTER: Final = 2 * MINUTE  # nobody looked for so long: who was heard meanwhile is not known
KEEP: Final = 90 * DAY  # alarms that are over, and messages that arrived, are listed for so long
BEGUN, LOOKED_AT = "begun", "looked"  # marks in the ledger
DEAF: Final = "deaf:"  # until when a gatherer did not run; with its kind
LASTING: Final = ("host silent", "gatherer down", "retention stopped", "host in trouble")
ADVANCE: Final = 5 * MINUTE  # what was received so long before the ledger was begun is news: gatherers start before us


class Watch:
    """
    Args:
        mover: of `serve`; its store is looked at once it has caught up.
        journal: gets an entry for each alarm that is raised, or over.

    Raises:
        sqlite3.Error: the ledger cannot be opened.
    """

    def __init__(self, settings: Settings, mover: Mover, journal: Journal, clock: Clock = wall_clock) -> None:
        self._settings = settings
        self._mover = mover
        self._journal = journal
        self._clock = clock
        self._ledger = Ledger(settings.state.path / FILE)
        self.lanes = [
            Lane(settings, destination, self._ledger, self._given_up, clock)
            for destination in settings.alerts.destinations
        ]
        self.trouble = ""  # why conditions cannot be looked at
        self._rows = -1  # of the mover, when new groups were looked for last
        self._news_at = self._heard_at = -float("inf")
        self._stored: dict[silence.Place, silence.Stored] = {}
        self._hosts = self._ledger.hosts()
        self._marks = self._ledger.marks()
        self._written = -float("inf")
        self._down: dict[str, float] = {}  # since when a gatherer does not run
        names = [lane.destination.title for lane in self.lanes]
        if dropped := self._ledger.drop_others(names, clock()):
            log.warning("%d messages were to go to destinations that there are no longer, and will not", dropped)
        for name in names:
            self._ledger.outbox.hasten(clock(), clock() + LONGEST_WAIT, name)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        failures = 0
        tasks = [asyncio.create_task(lane.run(stop)) for lane in self.lanes]
        try:
            while not stop.is_set():
                try:
                    await self.look()
                    failures, self.trouble = 0, ""
                except Exception as error:
                    failures += 1
                    if failures > 1:  # once may be chance
                        self.trouble = f"alarms cannot be looked at: {error or type(error).__name__}"
                    log.exception("alarms could not be looked at; again in %s", format_duration(_pause(failures)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_pause(failures)):
                        await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._ledger.close()

    async def look(self) -> None:
        """Once: what holds now, what no longer, who is to be told.

        Raises:
            StoreError, sqlite3.Error, OSError
        """
        if not self._mover.state.caught_up:
            return  # what is still to be moved may be a sign of life
        now = self._clock()
        marks = self._marks_at(now)
        contacts, running = await asyncio.to_thread(silence.listened, self._settings, now)
        seen, troubles = await self._look_at_store(marks, now)
        hosts = silence.expected(self._settings, silence.Heard(self._stored, contacts, running), self._hosts, now)
        deaf = self._deaf(marks, running, now)
        after = float(self._settings.alerts.silent_after)
        kinds = self._settings.kinds
        silent = [found for host in hosts if (found := silence.silent(host, deaf, after, now, kinds))]
        down = silence.down(hosts, self._down, now, str(self._settings.fleet.name), kinds)
        marks |= {DEAF + kind: until for kind, until in deaf.items()} | {LOOKED_AT: now}
        retention = self._retention()
        over = self._over(hosts, running, now, retention, troubles)
        wrong = [found for found in troubles.values() if isinstance(found, Condition)]
        due = self._due([*silent, *down, *seen.new, *retention, *wrong])
        if over or due or seen.known or abs(now - self._written) >= WRITE_EVERY:
            with self._ledger.transaction():
                self._tell([*self._end(over, now), *self._raise(due, now)], now)
                self._ledger.know_groups(seen.known)
                self._ledger.set_hosts(hosts)
                for name, time in marks.items():
                    self._ledger.mark(name, time)
                self._ledger.prune(now - KEEP)
            self._written = now
        self._hosts, self._marks = hosts, marks
        for lane in self.lanes if over or due else ():
            lane.new.set()
        self._measure(now)
        await self._enter()

    # ---- what is to be seen ----------------------------------------------------------------------------------------

    def _marks_at(self, now: float) -> dict[str, float]:
        """The ledger's, with those of a new one. After a time in which nobody looked, nobody is known to be silent."""
        marks = dict(self._marks)
        marks.setdefault(BEGUN, now)
        if now - marks.get(LOOKED_AT, 0.0) > DEAF_AFTER:
            marks |= {DEAF + kind: now for kind in silence.needed(self._settings.kinds)}
        return marks

    async def _look_at_store(
        self, marks: dict[str, float], now: float
    ) -> tuple[newness.Seen, dict[str, Condition | str]]:
        """Asks the store seldom: it has other things to do."""
        await self._hear(now)
        rows = self._mover.state.rows
        if abs(now - self._news_at) < (REFRESH if rows == self._rows else NEWS_EVERY):
            return newness.Seen([], {}), {}
        fresh = max(marks[BEGUN] - ADVANCE, min(marks.get(LOOKED_AT, now), now - newness.LATE))
        level = self._settings.alerts.group_level
        seen = await newness.news(self._mover.store, self._ledger, level, fresh, now)
        if len(seen.known) < newness.AT_ONCE:  # else there may be more of them
            self._rows, self._news_at = rows, now
        return seen, await self._troubles(now)

    async def _troubles(self, now: float) -> dict[str, Condition | str]:
        """What kinds say of hosts, by what it is about. A kind that cannot say anything keeps no other from it."""
        found: dict[str, Condition | str] = {}
        for kind in self._settings.kinds:
            try:
                found |= await load(kind.troubles)(self._mover.store, now) if kind.troubles else {}
            except Exception:
                log.exception("what %s say of hosts is not known now", kind.name)
        return found

    async def _hear(self, now: float) -> None:
        """Who sent something, added to what is known of that."""
        if abs(now - self._heard_at) < min(HEARD_EVERY, self._settings.alerts.silent_after / 4):
            return
        since = now - (HEARD_WITHIN if self._stored else silence.GONE_AFTER)
        for place, new in (await silence.stored(self._mover.store, since, now)).items():
            old = self._stored.get(place, new)
            self._stored[place] = new.newest(old)
        self._heard_at = now

    def _deaf(self, marks: dict[str, float], running: frozenset[str], now: float) -> dict[str, float]:
        """Until when each gatherer did not run."""
        for kind in silence.needed(self._settings.kinds):
            if kind in running:
                self._down.pop(kind, None)
            else:
                self._down.setdefault(kind, now)
        return {
            kind: marks.get(DEAF + kind, 0.0) if kind in running else now
            for kind in silence.needed(self._settings.kinds)
        }

    # ---- alarms ----------------------------------------------------------------------------------------------------

    def _retention(self) -> list[Condition]:
        """The condition that retention has stopped, if it has."""
        found = stopped(self._mover.ledger.fact(STOPPED))
        if found is None:
            return []
        return [
            Condition(
                rule="retention stopped",
                about="retention",
                cluster=str(self._settings.fleet.name),
                host="",
                level="error",
                title="retention stopped: nothing goes until it is confirmed",
                text=f"{found.why}.\nSee: lae-monitor archive retire --dry-run; if all of it may go: "
                "lae-monitor archive retire --confirm",
                since=found.since,
            )
        ]

    def _over(
        self,
        hosts: Sequence[Expected],
        running: frozenset[str],
        now: float,
        retention: Sequence[Condition],
        troubles: Mapping[str, Condition | str],
    ) -> list[tuple[Alarm, str]]:
        """Those that hold no longer, each with why. That a host cannot be judged just now ends nothing."""
        by_place = {f"{host.cluster}/{host.host}": host for host in hosts}
        over = []
        for alarm in self._ledger.held(*LASTING):
            if alarm.rule == "gatherer down":
                why = "it runs again" if alarm.about in running else ""
            elif alarm.rule == "retention stopped":
                why = "" if retention else "retention goes on"
            elif alarm.rule == "host in trouble":
                said = troubles.get(alarm.about)
                why = said if isinstance(said, str) else ""
            elif (host := by_place.get(alarm.about)) is None:
                why = "it is no longer expected"
            else:
                heard = host.heard is not None and host.heard > alarm.since
                why = f"heard again at {format_time(host.heard or now, digits=0)}" if heard else ""
            if why:
                over.append((alarm, why))
        return over

    def _due(self, conditions: Sequence[Condition]) -> list[Condition]:
        """Those that are not held already."""
        held = {(alarm.rule, alarm.about) for alarm in self._ledger.held(*LASTING)}
        return [condition for condition in conditions if (condition.rule, condition.about) not in held]

    def _end(self, over: Sequence[tuple[Alarm, str]], now: float) -> Iterator[Alarm]:
        for alarm, why in over:
            log.info("alarm over: %s: %s: %s", alarm.rule, alarm.title, why)
            alarm.ended, alarm.why_ended = now, why
            self._ledger.put(alarm)
            self._ledger.add_entry(_entry(alarm, now))
            yield alarm

    def _raise(self, due: Sequence[Condition], now: float) -> Iterator[Alarm]:
        for condition in due:
            alarm = raised(condition, now)
            log.warning("alarm: %s: %s", alarm.rule, alarm.title)
            RAISED.labels(alarm.rule).inc()
            self._ledger.put(alarm)
            self._ledger.add_entry(_entry(alarm, now))
            yield alarm

    def _tell(self, alarms: Sequence[Alarm], now: float) -> None:
        """A message for each destination that is to hear of any of these: one, however many they are."""
        for lane in self.lanes:
            rules, clusters = lane.destination.rules, lane.destination.clusters
            wanted = [
                alarm
                for alarm in alarms
                if (not rules or alarm.rule in rules) and (not clusters or alarm.cluster in clusters)
            ]
            if wanted:
                id_ = row_key("message", now, *(f"{alarm.id} {alarm.is_over}" for alarm in wanted)).hex()[:16]
                self._ledger.send(Message(id_, now, wanted), lane.destination.title)

    def _given_up(self, delivery: Delivery) -> None:
        """Said on the timeline at least."""
        self._ledger.add_entry(
            {
                "rule": "not delivered",
                "cluster": str(self._settings.fleet.name),
                "level": "error",
                "title": f"{delivery.destination} was not told of alarms: it did not get a message for a week",
                "text": f"Message {delivery.message} of {format_time(delivery.made)}: {delivery.error}",
                "time": self._clock(),
            }
        )

    async def _enter(self) -> None:
        """Writes into the journal what it has not; what it does not take now waits in the ledger."""
        waiting = self._ledger.entries()
        if not waiting:
            return
        try:
            await self._journal.write_all("alarm", [fields for _, fields in waiting])
        except ArchiveError as error:
            log.warning("%d alarms are not on the timeline yet: %s", len(waiting), error)
            return
        with self._ledger.transaction():
            self._ledger.entered(number for number, _ in waiting)

    def _measure(self, now: float) -> None:
        LOOKED.set(now)
        held = Counter(alarm.rule for alarm in self._ledger.held(*LASTING))
        for rule in LASTING:
            HELD.labels(rule).set(held[rule])
        for lane in self.lanes:
            WAITING.labels(lane.destination.title).set(self._ledger.outbox.waiting(lane.destination.title))


def _pause(failures: int) -> float:
    """Seconds until the next look: longer after each that failed."""
    return float(min(LOOK_EVERY * 2 ** min(failures, 10), MINUTE))


def _entry(alarm: Alarm, now: float) -> dict[str, str | float]:
    """What the journal says: the same for one alarm and state, whenever it is written."""
    over = {"state": "over", "level": "info", "text": alarm.why_ended, "title": f"over: {alarm.title}"}
    return {
        **alarm.attrs, "rule": alarm.rule, "alarm": alarm.id, "state": "raised", "cluster": alarm.cluster,
        "host": alarm.host, "level": alarm.level, "title": alarm.title, "text": alarm.text, "time": now,
        **(over if alarm.is_over else {}),
    }  # fmt: skip

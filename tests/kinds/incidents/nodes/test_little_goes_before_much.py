"""Who waits to be fetched: the order is fair, and nobody's turn is lost."""

import asyncio

from lae_monitor.core.names import Place
from lae_monitor.kinds.incidents.nodes import shared
from lae_monitor.kinds.incidents.nodes.shared import Turns


def place(host):
    return Place("lae", host)


class Fetches:
    """Fetches that end when they are told to; `begun` says in which order they began."""

    def __init__(self, limit=1):
        self.turns = Turns(limit)
        self.begun = []
        self.ends = {}
        self.tasks = {}

    async def ask(self, host, waiting=0):
        self.ends[host] = asyncio.Event()
        self.tasks[host] = asyncio.create_task(self._fetch(host, waiting))
        await settle()

    async def _fetch(self, host, waiting):
        async with self.turns.turn(place(host.partition("-")[0]), lambda: waiting):
            self.begun.append(host)
            await self.ends[host].wait()

    async def end(self, host):
        self.ends[host].set()
        await self.tasks[host]
        await settle()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario(), 30))


def test_no_more_are_under_way_than_may_be():
    async def scenario():
        fetches = Fetches(limit=2)
        for host in "abc":
            await fetches.ask(host)
        assert fetches.begun == ["a", "b"]
        await fetches.end("b")
        assert fetches.begun == ["a", "b", "c"]

    run(scenario)


def test_who_has_little_waiting_goes_first_and_among_equals_who_came_first():
    async def scenario():
        fetches = Fetches()
        await fetches.ask("a")
        for host, waiting in (("b", 5), ("c", 5), ("d", 0)):
            await fetches.ask(host, waiting)
        for host in ("a", "d", "b"):
            await fetches.end(host)
        assert fetches.begun == ["a", "d", "b", "c"]

    run(scenario)


def test_who_has_taken_much_time_waits_for_those_who_have_not():
    async def scenario():
        fetches = Fetches()
        await fetches.ask("a-1")
        await asyncio.sleep(0.01)
        await fetches.ask("a-2", 0)
        await fetches.ask("b-1", 9)
        await fetches.end("a-1")
        assert fetches.begun == ["a-1", "b-1"]

    run(scenario)


def test_what_was_taken_is_forgotten(monkeypatch):
    monkeypatch.setattr(shared, "HALF_LIFE", 1e-6)

    async def scenario():
        fetches = Fetches()
        await fetches.ask("a-1")
        await asyncio.sleep(0.01)
        await fetches.end("a-1")
        await fetches.ask("c-1")
        await fetches.ask("a-2", 0)
        await fetches.ask("b-1", 9)
        await fetches.end("c-1")
        assert fetches.begun[2:] == ["a-2"]
        assert len(fetches.turns._taken) <= 1, "memory is not taken for ever"

    run(scenario)


def test_the_turn_of_whoever_gives_up_while_waiting_is_not_lost():
    async def scenario():
        fetches = Fetches()
        for host in "abc":
            await fetches.ask(host)
        fetches.tasks["b"].cancel()
        await settle()
        await fetches.end("a")
        assert fetches.begun == ["a", "c"]

    run(scenario)


def test_the_turn_of_whoever_gives_up_when_it_has_come_is_not_lost():
    async def scenario():
        fetches = Fetches()
        async with fetches.turns.turn(place("a"), lambda: 0):
            await fetches.ask("b")
        fetches.tasks["b"].cancel()  # called, and had no time to begin
        await settle()
        await fetches.ask("c")
        assert fetches.begun == ["c"]

    run(scenario)


def test_a_fetch_that_takes_long_counts_no_more(monkeypatch):
    monkeypatch.setattr(shared, "FETCH_TURN", 0.0)

    async def scenario():
        fetches = Fetches()
        await fetches.ask("slow")
        await fetches.ask("b")
        while fetches.begun != ["slow", "b"]:
            await asyncio.sleep(0)
        await fetches.end("slow")
        await fetches.end("b")
        assert fetches.turns._free == 1, "it is given back once"

    run(scenario)

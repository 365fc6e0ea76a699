"""A bucket lets a burst pass and then a rate; a budget gives out memory in order, and takes all of it back."""

import asyncio

import pytest

from lae_monitor.kinds.pace import Bucket, Budget


def test_a_burst_passes_and_then_the_rate():
    bucket = Bucket(3, 0.5, 10.0)
    assert [bucket.take(10.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert [bucket.take(14.0) for _ in range(3)] == [True, True, False], "what was refused was not counted"
    assert [bucket.take(1e6) for _ in range(4)] == [True] * 3 + [False], "a pause gives a burst, not more"


def test_a_clock_that_is_set_back_gives_nothing():
    bucket = Bucket(1, 1.0, 1_000.0)
    assert bucket.take(1_000.0)
    assert not bucket.take(10.0)
    assert not bucket.take(10.5)
    assert bucket.take(11.0)


def test_memory_is_handed_out_in_order_and_one_too_large_passes_alone():
    async def main():
        budget = Budget(10)
        await budget.wait(6)
        order = []

        async def take(size):
            await budget.wait(size)
            order.append(size)

        tasks = [asyncio.create_task(take(size)) for size in (50, 1, 2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == []
        budget.give(6)
        await tasks[0]
        assert order == [50], "those behind it wait"
        budget.give(50)
        await asyncio.gather(*tasks)
        assert order == [50, 1, 2]

    asyncio.run(main())


def test_one_that_gives_up_waiting_holds_nothing_and_keeps_nobody():
    async def main():
        budget = Budget(10)
        await budget.wait(10)
        first, second = (asyncio.create_task(budget.wait(size)) for size in (9, 3))
        await asyncio.sleep(0)
        first.cancel()
        budget.give(10)
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert budget.held == 3

    asyncio.run(main())


def test_one_holder_leaves_room_for_others():
    budget = Budget(10, each=6)
    assert budget.take(6, "a") and not budget.take(1, "a")
    assert budget.take(4, "b") and not budget.take(1, "b") and not budget.take(1, "c")
    budget.give(6, "a")
    assert budget.take(6, "c")
    budget.give(6, "c")
    budget.give(4, "b")
    assert budget.held == 0

"""Whoever logs faster than he may is answered later, by as much as he is ahead; who is slow, or pauses, is not."""

from lae_monitor.kinds.incidents.node_logs.stream import BURST, FLOOD, RATE, is_flood, pace_of_one


def test_a_burst_is_answered_at_once_and_what_follows_at_the_rate():
    pace = pace_of_one(0.0)
    assert [pace.delay(0.0) for _ in range(BURST)] == [0.0] * BURST
    assert [round(pace.delay(0.0) * RATE) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert round(pace.delay(5 / RATE) * RATE) == 1
    assert pace.delay(BURST / RATE) == 0.0


def test_a_clock_that_is_set_back_gives_nobody_anything():
    pace = pace_of_one(1_000.0)
    for _ in range(BURST):
        pace.delay(1_000.0)
    assert pace.delay(10.0) > 0
    assert pace.delay(10.0) > 0


def test_only_who_is_far_ahead_is_a_flood():
    pace = pace_of_one(0.0)
    for _ in range(FLOOD):
        pace.delay(0.0)
    assert not is_flood(pace)
    pace.delay(0.0)
    assert is_flood(pace)

"""Whoever logs faster than he may is answered later, by as much as he is ahead; who is slow, or pauses, is not."""

from lae_monitor.kinds.incidents.logs_pace import BURST, FLOOD, RATE, Pace


def test_a_burst_is_answered_at_once_and_what_follows_at_the_rate():
    pace = Pace(0.0)
    assert [pace.take(0.0) for _ in range(BURST)] == [0.0] * BURST
    assert [round(pace.take(0.0) * RATE) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert round(pace.take(5 / RATE) * RATE) == 1
    assert pace.take(BURST / RATE) == 0.0


def test_a_clock_that_is_set_back_gives_nobody_anything():
    pace = Pace(1_000.0)
    for _ in range(BURST):
        pace.take(1_000.0)
    assert pace.take(10.0) > 0
    assert pace.take(10.0) > 0


def test_only_who_is_far_ahead_is_a_flood():
    pace = Pace(0.0)
    for _ in range(FLOOD):
        pace.take(0.0)
    assert not pace.is_flood
    pace.take(0.0)
    assert pace.is_flood

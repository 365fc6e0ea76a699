"""Numbers of events: what is new is taken once, what is left out is counted, and what comes late is taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.kinds.incidents.node_logs.stream import MAX_MISSING, MAX_RUNS, Numbers, Runs


@given(st.lists(st.integers(0, 60), min_size=1))
def test_each_is_new_once_and_the_count_is_what_is_missing(order):
    numbers, seen, missing, first = Numbers(), set(), 0, order[0]
    for number in order:
        is_new, more = numbers.take(number, counts=True)
        missing += more
        assert is_new == (number >= first and number not in seen)
        seen |= {number} if number >= first else set()
    assert missing == max(seen) - first + 1 - len(seen)


def test_what_is_left_out_while_a_run_becomes_known_is_not_missing():
    numbers = Numbers()
    assert [numbers.take(number, counts=False) for number in (5, 9)] == [(True, 0), (True, 0)]
    assert numbers.take(12, counts=True) == (True, 2)
    assert numbers.take(7, counts=True) == (False, 0)


def test_a_number_that_cannot_be_true_is_refused_and_harms_no_other():
    numbers = Numbers()
    numbers.take(1, counts=True)
    with pytest.raises(ValueError, match="jump"):
        numbers.take(MAX_MISSING + 3, counts=True)
    assert numbers.take(2, counts=True) == (True, 0)


def test_only_so_many_runs_are_remembered():
    runs = Runs()
    for run in range(MAX_RUNS + 1):
        runs.of(str(run))
        runs.of("used often")
    assert not runs.knows("0")
    assert runs.knows("used often")
    assert runs.knows(str(MAX_RUNS))

"""Sizes, durations and times are read as people write them, or refused by their code."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.core.limits import format_size, parse_size
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import (
    EARLIEST,
    MAX_AHEAD,
    clamp,
    day_path,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("25 MiB", 25 << 20), ("1.5GB", 1_500_000_000), (" 2 kib ", 2048), ("1TiB", 1 << 40)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1 pig", "1e9", "0x10", "1,5 GB", "1 MiB 2", "nan", "inf", "9" * 40, "١"]
)
def test_what_is_no_size(text):
    with pytest.raises(Refused, match="bad_size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("60s", 60), ("60", 60), ("1h30m", 5400), ("1h30", 3630), ("1h 30m", 5400), ("7d", 604800), ("1y", 31536000), ("2w", 1209600)],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 fortnight", "1e3s", "nan", "inf", "9" * 60])
def test_what_is_no_duration(text):
    with pytest.raises(Refused, match="bad_duration"):
        parse_duration(text)


@given(st.text(max_size=60))
def test_hypothesis_nothing_but_a_refusal(text):
    for parse in (parse_size, parse_duration, parse_time):
        try:
            value = parse(text)
        except Refused:
            continue
        assert math.isfinite(value)


@given(st.floats(min_value=0, max_value=4e9))
def test_times_come_back(seconds):
    assert parse_time(format_time(seconds, digits=6)) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-15T00:00:03+01:00", 1700002803),
        ("2023-11-14 23:00:03", 1700002803),
        ("2023-11-14T23:00:03.5Z", 1700002803.5),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "2023-11-15T25:00:00Z", "1700002803s", "10000-01-01"])
def test_what_is_no_time(text):
    with pytest.raises(Refused, match="bad_time"):
        parse_time(text)


def test_clamping_keeps_what_can_be_true():
    now = 1.7e9
    assert clamp(now - 5, now) == (now - 5, False)
    assert clamp(math.nan, now) == (EARLIEST, True)
    assert clamp(-1, now) == (EARLIEST, True)
    assert clamp(math.inf, now) == (now + MAX_AHEAD, True)


def test_what_people_read():
    assert [format_size(size) for size in (0, 1023, 1024, 26214400, 1 << 50)] == [
        "0 B", "1023 B", "1.0 KiB", "25.0 MiB", "1024.0 TiB"
    ]  # fmt: skip
    assert [format_duration(seconds) for seconds in (0.25, 1, 90, 5400, 90061)] == [
        "250ms", "1s", "1m 30s", "1h 30m", "1d 1h"
    ]  # fmt: skip
    assert day_path(1795355078) == "2026/11/22"

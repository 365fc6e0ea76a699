"""A message says first what is the case now."""

import pytest

from lae_monitor.alerts.alarm import Alarm
from lae_monitor.alerts.ledger import Message
from lae_monitor.alerts.message import text, title

SILENT = ("node7 is silent for 2h 1m", "heard again at 2026-11-22T10:00:00Z")
RETENTION = ("retention stopped: nothing goes until it is confirmed", "retention goes on")


@pytest.mark.parametrize(("before", "now"), [SILENT, RETENTION])
def test_of_an_alarm_that_is_over_the_end_comes_first(before, now):
    alarm = Alarm(
        id="a", rule="host silent", about="lae/node7", cluster="lae", host="node7", level="error", title=before,
        text="See: lae-monitor host list", since=0.0, raised=60.0, ended=3660.0, why_ended=now,
    )  # fmt: skip
    headline = f"over: {now} (was: {before})"
    assert title("lae", [alarm]) == f"[lae] {headline}"
    assert text("lae", Message("m", 3660.0, [alarm]), "").startswith(
        f"{headline}\n    host silent, lae/node7\n    The alarm held for 1h.\n"
    )

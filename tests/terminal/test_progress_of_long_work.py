"""Progress goes to standard error: a line that is rewritten on a terminal, rarely a line elsewhere, nothing with --json."""

import re
import subprocess
import sys
import time

from terminals import on_terminal

from lae_monitor.terminal.options import Invocation
from lae_monitor.terminal.progress import progress

TWO_SECONDS = """
import time
from lae_monitor.terminal.options import Invocation
from lae_monitor.terminal.progress import counted
invocation = Invocation()
invocation.as_json = {as_json}
for number in counted(invocation, range(400), "crashes", {total}):
    time.sleep(0.005)
"""


def work(capsys, ticks, total=None, *, as_json=False):
    """The lines of work that counts one more at each tick of the clock."""
    invocation = Invocation()
    invocation.as_json = as_json
    clock = iter([0.0, *ticks])
    with progress(invocation, "crashes", total, clock=lambda: next(clock)) as tell:
        for number, _ in enumerate(ticks, 1):
            tell(number * 100, "host\x1b[2J1")
    return capsys.readouterr().err.splitlines()


def test_a_terminal_has_one_line_rewritten_at_most_twice_a_second_and_none_at_the_end():
    begun = time.monotonic()
    written = on_terminal(80, TWO_SECONDS.format(as_json=False, total=400), descriptor=2)
    at_most = 2 * (time.monotonic() - begun) + 1
    lines = written.split("\r")
    assert "\n" not in written
    assert 2 <= len([line for line in lines if "crashes" in line]) <= at_most
    assert re.fullmatch(r"\d+ of 400 crashes \(\d+%\), \d+/(s|min), [\dms ]+ left", lines[0].rstrip()), lines[0]
    assert not lines[-2].strip()
    assert not lines[-1]


def test_a_line_fits_a_narrow_terminal():
    written = on_terminal(20, TWO_SECONDS.format(as_json=False, total=400), descriptor=2)
    assert max(map(len, written.split("\r"))) <= 19


def test_nothing_with_json_even_on_a_terminal():
    assert not on_terminal(80, TWO_SECONDS.format(as_json=True, total=400), descriptor=2)


def test_short_work_says_nothing_in_a_pipe():
    program = TWO_SECONDS.format(as_json=False, total=None)
    assert not subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stderr


def test_a_pipe_has_a_line_every_thirty_seconds(capsys):
    lines = work(capsys, range(1, 100))
    assert lines == [f"{n},000 crashes, 100/s  host\\x1b[2J1" for n in (3, 6, 9)]


def test_share_rate_and_time_left_are_said_where_the_total_is_known(capsys):
    assert work(capsys, [10, 50], 800) == ["200 of 800 crashes (25%), 240/min, 2m 30s left  host\\x1b[2J1"]
    assert work(capsys, [50], 100_000) == ["100 of 100,000 crashes (0%), 120/min  host\\x1b[2J1"]


def test_nothing_with_json_in_a_pipe(capsys):
    assert not work(capsys, range(1, 100), as_json=True)

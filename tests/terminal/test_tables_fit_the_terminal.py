"""Tables are printed by a process whose standard output is a pipe, or a terminal of a given width."""

import os
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len
from terminals import on_terminal

PROGRAM = """
import click
from lae_monitor.terminal.table import Column, Painted, table
rows = [
    ("web1", 7, Painted("disk \\x1b[2J full " + "on /srv " * 12, "error"), "4f2a9c"),
    ("a-much-longer-name.example", 12345, "Festplatte \\u6f22\\u5b57" * 9, "81b07e\\x07"),
    ("db", 0, "", ""),
]
click.echo("\\n".join(table(("host", "count", Column("title", spare=20), "id"), rows)))
"""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def piped(program=PROGRAM, **environment):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    ).stdout


def shown(columns, **environment):
    return on_terminal(columns, PROGRAM, **environment)


def test_in_a_pipe_nothing_is_cut_and_nothing_coloured():
    heads, first, second, third = piped(COLUMNS="40").splitlines()
    assert heads.split() == ["host", "count", "title", "id"]
    assert "on /srv " * 11 in first
    assert second.count("漢字") == 9
    assert "\x1b" not in first
    assert "…" not in first + second
    assert third == "db".ljust(len("a-much-longer-name.example") + 2) + "     0", "no blanks at the end"


def test_numbers_stand_right_below_their_head():
    heads, first, second, _ = piped().splitlines()
    end = heads.index("count") + len("count")
    assert first[:end].endswith("     7")
    assert second[:end].endswith("12,345") or second[: end + 1].endswith("12,345")


@pytest.mark.parametrize("columns", [70, 100, 131])
def test_a_row_is_no_wider_than_the_terminal(columns):
    lines = ESCAPES.sub("", shown(columns)).splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert sum("…" in line for line in lines) == 2
    assert all(line.endswith(("id", "4f2a9c", "81b07e\\x07", "0")) for line in lines), "only the title is cut"


def test_names_and_ids_are_whole_however_narrow_the_terminal_is():
    lines = ESCAPES.sub("", shown(30)).splitlines()
    assert lines[2].startswith("a-much-longer-name.example")
    assert lines[2].endswith("81b07e\\x07")
    assert cell_len(lines[1]) == cell_len(lines[2]) - len("\\x07")


@pytest.mark.parametrize("columns", [90, 200])
def test_what_is_after_a_wide_character_stands_in_its_column(columns):
    heads, first, second, _ = ESCAPES.sub("", shown(columns)).splitlines()
    at = heads.index("id")
    assert cell_len(first[: first.index("4f2a9c")]) == at
    assert cell_len(second[: second.index("81b07e")]) == at


def test_no_character_of_a_cell_does_anything():
    for written in (shown(200), piped()):
        assert "\\x1b[2J" in written
        assert not {"\x07", "\x1b[2J"} & set(re.findall(r"\x07|\x1b\[2J", written))


def test_a_level_is_a_colour_unless_no_color_is_set():
    coloured, plain = shown(70), shown(70, NO_COLOR="1")
    assert re.search(r"\x1b\[31mdisk [^\x1b]*…\x1b\[0m", coloured)
    assert plain == ESCAPES.sub("", coloured)


def test_a_long_search_is_a_table_quickly():
    program = """
import time
from lae_monitor.terminal.table import event_lines
rows = [{"time": "2026-11-22T09:44:34Z", "level": "error", "kind": "crash", "host": f"host{n}", "title": "x" * (n % 300),
         "id": str(n)} for n in range(10_000)]
begun = time.process_time()
assert len(event_lines(rows)) == 10_000
print(time.process_time() - begun)
"""
    assert float(piped(program)) < 3.0

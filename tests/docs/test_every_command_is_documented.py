"""docs/commands.md has every command with an example, and every command line in the documentation can be understood."""

import re
import shlex
from pathlib import Path

import click
import pytest

from lae_monitor.cli.group import top
from lae_monitor.kinds import KINDS
from lae_monitor.terminal.options import Invocation


def leaves(command, path=("lae-monitor",)):
    """Every command that does something: its words, and itself."""
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield " ".join(path), command
        context = click.Context(command, obj=Invocation(KINDS))
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*path, name))
    else:
        yield " ".join(path), command


LEAVES = list(leaves(top))


def documented(text):
    """Heading of each command -> the text below it."""
    parts = re.split(r"^### `(lae-monitor [^`]+)`\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_a_heading_and_no_other(page):
    assert set(documented(page("commands.md"))) == {name for name, _ in leaves(top)}


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_an_example_and_every_option_a_word(page, markdown, name, command):
    text = documented(page("commands.md")).get(name, "")
    examples = "".join(markdown.fences(text, "sh"))
    assert name in examples, f"no example of {name}"
    shared = {"--config", "--json", "--help"}
    options = {
        option
        for parameter in command.get_params(click.Context(command, obj=Invocation(KINDS)))
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    missing = sorted(option for option in options - shared if option not in prose)
    assert missing == []


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=lambda value: value if isinstance(value, str) else "")
def test_help_says_what_it_does_without_stray_marks(name, command):
    text = command.get_help(click.Context(command, info_name=name, obj=Invocation(KINDS)))
    assert len((command.help or "").split()) >= 5
    assert "\\b" not in text


def command_lines(text, markdown):
    """Every command line of ours in the shell blocks of a page, without what the shell would take from it."""
    for block in markdown.fences(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
            lexer.whitespace_split = True
            words = list(lexer)
            while words:
                end = next((at for at, word in enumerate(words) if word[0] in "|;&"), len(words))
                part, words = words[:end], words[end + 1 :]
                for sign in ("<", ">", ">>"):
                    if sign in part:
                        part = part[: part.index(sign)]
                while part and re.fullmatch(r"(sudo|exec|-u|gatherer|[A-Z_]+=.*)", part[0]):
                    part = part[1:]
                if part and part[0].rpartition("/")[2] == "lae-monitor":
                    yield line, part[1:]


def understand(words):
    """Parses a command line as click would, without running it."""
    command, context = top, None
    name = "lae-monitor"
    while True:
        context = command.make_context(name, list(words), parent=context, resilient_parsing=False)
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return
        name, command, words = command.resolve_command(context, rest)


def test_every_command_line_in_the_documentation_is_understood(all_pages, markdown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "core.dmp").touch()  # what the examples name
    checked = 0
    for name, text in all_pages.items():
        for line, words in command_lines(text, markdown):
            checked += 1
            try:
                understand(words)
            except click.exceptions.Exit:
                continue
            except click.ClickException as error:
                pytest.fail(f"{name}: {line}: {error.format_message()}")
    assert checked > 20


def test_every_target_of_make_that_is_named_exists(all_pages, markdown):
    known = set(
        re.findall(r"^([a-z-]+):", (Path(__file__).parent.parent.parent / "Makefile").read_text(), re.MULTILINE)
    )
    named = {
        target
        for text in all_pages.values()
        for block in markdown.fences(text, "sh")
        for target in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
    }
    assert {"run", "test"} <= named <= known

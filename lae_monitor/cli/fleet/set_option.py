"""`lae-monitor fleet set-option`: one option of tahoe.cfg on many hosts."""

from __future__ import annotations

import click

from lae_monitor.terminal.hosts import Care, Reach, Sources, care, reach, sources
from lae_monitor.terminal.options import EXIT_USAGE, Invocation, common


@click.command("set-option")
@click.argument("section", metavar="SECTION")
@click.argument("option", metavar="OPTION")
@click.argument("value", metavar="[VALUE]", required=False)
@click.option(
    "--value-file",
    metavar="FILE",
    help="A file with the value as its only line; - is standard input.",
)
@click.option("--unset", is_flag=True, help="Remove the option, leaving an empty comment.")
@click.option(
    "--on", "hosts", multiple=True, metavar="HOST", help="[NAME=][USER@]ADDRESS[:PORT]; may be given several times."
)
@click.option(
    "--file",
    "paths",
    multiple=True,
    metavar="PATH",
    help="A file on the hosts, instead of the tahoe.cfg of --nodes.",
)
@sources
@reach
@care
@common
def set_option(
    invocation: Invocation,
    section: str,
    option: str,
    value: str | None,
    value_file: str | None,
    unset: bool,
    hosts: tuple[str, ...],
    paths: tuple[str, ...],
    sources: Sources,
    reach: Reach,
    care: Care,
) -> None:
    """Set an option in the tahoe.cfg of nodes on hosts over SSH, and restart the nodes that this changed. Comments, order
    and line ends stay as they are. Others can read a command line: give secrets with --value-file.

    \b
    lae-monitor fleet set-option node web.port tcp:3456:interface=127.0.0.1 --on node1.example --on node2.example
    lae-monitor fleet set-option client helper.furl --value-file helper.furl --csv customerinfo.csv --dry-run
    """
    from lae_monitor.cli.fleet.work import end, files, work
    from lae_monitor.fleet import tahoe_cfg
    from lae_monitor.fleet.registering import INTRODUCER, STORAGESERVER, Order
    from lae_monitor.terminal.hosts import chosen, ready

    if (value is not None) + (value_file is not None) + unset != 1:
        invocation.fail("give a VALUE, or --value-file FILE, or --unset", EXIT_USAGE)
    text = _first_line(invocation, value_file) if value_file is not None else value
    try:
        tahoe_cfg.set_option(b"", section, option, text or "")
    except tahoe_cfg.BadOption as error:
        invocation.fail(str(error), EXIT_USAGE)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    where = list(paths) or files(care, (STORAGESERVER, INTRODUCER))
    order = Order(
        section, option, lambda _host: text, where, care.command, always=care.restart_always, dry_run=care.dry_run
    )
    outcomes = work(invocation, targets, reach, care, order)
    following = "the same without --dry-run" if care.dry_run else ""
    end(invocation, outcomes, passed, {}, dry_run=care.dry_run, following=following)


def _first_line(invocation: Invocation, path: str) -> str:
    from lae_monitor.terminal.hosts import text_of

    lines = text_of(invocation, "--value-file", path).splitlines()
    if len(lines) != 1:
        invocation.fail(f"--value-file {path}: it has to hold one line of text", EXIT_USAGE)
    return lines[0]

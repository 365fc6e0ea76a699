"""`lae-monitor` in this process: half a second less than a process of its own. Some tests of each command start a real one."""

import logging
import sys
from collections.abc import Mapping
from subprocess import CompletedProcess
from types import SimpleNamespace
from unittest import mock

from click.testing import CliRunner

from lae_monitor.cli import main


def lae_monitor(*arguments: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """How the command ends, and what it prints. Not from two threads at once: it has the process's standard output."""

    def program(args, **_options):
        with mock.patch.object(sys, "argv", ["lae-monitor", *args]):
            main()

    log = logging.getLogger()
    handlers, level = log.handlers[:], log.level
    try:
        done = CliRunner().invoke(SimpleNamespace(name="lae-monitor", main=program), list(arguments), env=env)
    finally:
        log.handlers[:], log.level = handlers, level
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

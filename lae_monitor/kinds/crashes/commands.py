"""`lae-monitor crashes`: sends a crash report as a real client would, to try a collector."""

import gzip
import json
import time
from pathlib import Path
from typing import Any, Final

import click

from lae_monitor import __version__
from lae_monitor.core.printable import one_line
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.crashmover.destination import Unavailable
from lae_monitor.kinds.crashes.crashmover.posting import post
from lae_monitor.kinds.crashes.form import File, form, minidump
from lae_monitor.kinds.crashes.minidump import MAGIC
from lae_monitor.kinds.crashes.report import MINIDUMP, RAW_CRASH, annotations_in
from lae_monitor.kinds.crashes.throttle.commands import throttle_test
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

DEFAULT_URL: Final = "http://127.0.0.1:8000/submit"
TIMEOUT: Final = 60.0  # seconds, as Crashpad's own
CRASH_ID: Final = 36  # characters
MAX_LINE: Final = 200  # characters of it that are shown: what answers may be no collector


@click.group()
@common
def crashes(_invocation: Invocation) -> None:
    """Send a crash report; try throttle rules."""


crashes.add_command(throttle_test)


@crashes.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--url", metavar="URL", help=f"The collector; default: our own, by the configuration, usually {DEFAULT_URL}."
)
@click.option(
    "--annotation", "annotations", multiple=True, metavar="NAME=VALUE", help="Goes with the report; can be repeated."
)
@click.option("--gzip", "compress", is_flag=True, help="Compress the body, as Crashpad does.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Holds the token of the product, if it needs one.",
)
@common
def submit(
    invocation: Invocation,
    file: Path | None,
    url: str | None,
    annotations: tuple[str, ...],
    compress: bool,
    token_file: Path | None,
) -> None:
    """Send FILE, a minidump or a zip out of the archive's crashes/; without it, a small made-up minidump.

    \b
    Exit code 0 when the crash was accepted, 1 when it was refused, 69 when no server answers, 75 when the
    collector asks to try again later.
    """
    url = url if url is not None else _own_collector(invocation)
    told, files = _contents(invocation, file)
    for pair in annotations:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            invocation.fail(f"--annotation {pair}: has the form NAME=VALUE", EXIT_USAGE)
        told[name] = value
    headers, body = form(told, [File(name, name, data) for name, data in files.items()])
    if token_file is not None:
        headers["Authorization"] = f"Bearer {token_file.read_text().strip()}"
    if compress:
        headers["Content-Encoding"], body = "gzip", gzip.compress(body)
    try:
        status, reply, retry_after = post(url, headers, body, TIMEOUT)
    except ValueError:
        invocation.fail(f"--url {url}: not a URL such as {DEFAULT_URL}", EXIT_USAGE)
    except Unavailable as error:
        invocation.fail(
            f"{url}: no answer: {error.__cause__}",
            EXIT_UNAVAILABLE,
            following="start the collector: lae-monitor gather crashes",
        )
    if status != 200 or not reply.startswith("CrashID="):
        _refused(invocation, url, status, reply, retry_after)
    said = one_line(reply.partition("\n")[0], MAX_LINE)
    crash_id = said[-CRASH_ID:]  # whatever prefix its collector puts before it
    answer = {"crash_id": crash_id, "reply": said, "status": status, "sent": len(body)}
    invocation.answer(answer, f"{said}\nNext: lae-monitor report show {crash_id}")


def _own_collector(invocation: Invocation) -> str:
    """The address of the collector that the configuration describes, as this host reaches it."""
    listen = invocation.settings.gatherers["crashes"].listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - what it listens on
    return f"http://[{host}]:{listen.port}/submit" if ":" in host else f"http://{host}:{listen.port}/submit"


def _contents(invocation: Invocation, file: Path | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Annotations and files to send."""
    told: dict[str, Any] = {"ProductName": "lae-test", "Version": __version__}
    if file is None:
        return told, {MINIDUMP: minidump(time.time())}
    data = file.read_bytes()
    if data.startswith(MAGIC):
        return told, {MINIDUMP: data}
    try:
        found = {name: bytes(content) for name, content in entries(data).items()}
        document = json.loads(found.pop(RAW_CRASH))
        return annotations_in(document), found
    except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
        invocation.fail(
            f"{file}: neither a minidump (it does not begin with MDMP) nor a crash of the archive: {error}", EXIT_USAGE
        )


def _refused(invocation: Invocation, url: str, status: int, reply: str, retry_after: float | None) -> None:
    """Says why, and what to do."""
    line = one_line(reply, MAX_LINE)
    code = line.removeprefix("Discarded=")
    if status == 200 and (code.startswith("rule_") or line == "Unsupported=1"):
        what = (
            f"throttle rule {code.removeprefix('rule_')} rejects it" if code != line else "its product is not supported"
        )
        invocation.fail(f"{url}: not kept: {what}", EXIT_FINDINGS, following="lae-monitor crashes throttle-test --help")
    reason = REASONS.get(code)
    why = f"{code}: {reason.text}" if reason else line or "no reason given"
    message = f"{url}: refused with status {status}: {why}"
    if status >= 500:
        following = f"try again in {retry_after:g} s" if retry_after else "try again later; see the collector's log"
        invocation.fail(message, EXIT_TRY_AGAIN, following=following)
    if status == 404:
        following = "the collector's address ends in /submit"
    elif status == 413:
        following = "send less, or raise max_body or max_inflated in [gatherers.crashes]"
    else:
        following = "correct the report; docs/reasons.md tells what each code means"
    invocation.fail(message, EXIT_FINDINGS, following=following)

"""`lae-monitor crashes`: sends a crash report as a real client would, to try a collector."""

import gzip
import http.client
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from lae_monitor import __version__
from lae_monitor.core.printable import one_line
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.form import File, form
from lae_monitor.kinds.crashes.minidump import MAGIC
from lae_monitor.kinds.crashes.report import MINIDUMP, OURS, RAW_CRASH
from lae_monitor.kinds.crashes.sample import minidump
from lae_monitor.kinds.crashes.throttle.commands import throttle_test
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

DEFAULT_URL: Final = "http://127.0.0.1:8000/submit"
TIMEOUT: Final = 60.0  # seconds, as Crashpad's own
CRASH_ID: Final = 36  # characters
MAX_REPLY: Final = 10_000  # bytes; a collector's reply is one line
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
    Exit code 0 when the crash was accepted, 1 when it was refused, 69 when nobody answers, 75 when the
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
        status, reply, retry_after = _post(url, headers, body)
    except ValueError as error:
        invocation.fail(f"--url {url}: {error}", EXIT_USAGE)
    except (OSError, http.client.HTTPException) as error:
        invocation.fail(
            f"{url}: no answer: {error}", EXIT_UNAVAILABLE, following="start the collector: lae-monitor gather crashes"
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
        replaced = document["metadata"].get("replaced", {})
        return {name: value for name, value in document.items() if name not in OURS} | replaced, found
    except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
        invocation.fail(
            f"{file}: neither a minidump (it does not begin with MDMP) nor a crash of the archive: {error}", EXIT_USAGE
        )


def _post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, str]:
    """Status, text and Retry-After of the reply.

    Raises:
        ValueError: the URL is none.
        OSError, HTTPException: there was no reply.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not a URL such as " + DEFAULT_URL)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may not want the rest; why is in its reply
            connection.request("POST", target, body, dict(headers))
        reply = connection.getresponse()
        text = reply.read(MAX_REPLY).decode("utf-8", "replace")
        return reply.status, text, reply.getheader("Retry-After", "")
    finally:
        connection.close()


def _refused(invocation: Invocation, url: str, status: int, reply: str, retry_after: str) -> None:
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
        following = (
            f"try again in {one_line(retry_after, 40)} s" if retry_after else "try again later; see the collector's log"
        )
        invocation.fail(message, EXIT_TRY_AGAIN, following=following)
    if status == 404:
        following = "the collector's address ends in /submit"
    elif status == 413:
        following = "send less, or raise max_body or max_inflated in [gatherers.crashes]"
    else:
        following = "correct the report; docs/reasons.md tells what each code means"
    invocation.fail(message, EXIT_FINDINGS, following=following)

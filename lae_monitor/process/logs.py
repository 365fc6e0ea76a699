"""What a process logs to standard error: lines for people, for systemd's journal, or JSON for machines."""

import json
import logging
import os
import socket
import sys
import traceback
from time import gmtime
from typing import Final, Literal

from lae_monitor import __version__
from lae_monitor.core.secrets import redact

SEVERITIES: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}  # as syslog has them
SENTRY_VARIABLE: Final = "SENTRY_DSN"

log = logging.getLogger(__name__)


class TextFormatter(logging.Formatter):
    """Lines without secrets: a traceback may hold a piece of what was received."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JournalFormatter(TextFormatter):
    """Begins each line as sd-daemon(3) has it, so that `journalctl --priority=warning` finds what it should."""

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{SEVERITIES.get(record.levelname, 6)}>"
        return mark + super().format(record).replace("\n", f"\n{mark}")


class JsonFormatter(logging.Formatter):
    """A JSON object a record, with the fields of mozlog 2.0: Timestamp in nanoseconds, Severity as syslog has it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process
        self._host = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        fields = {"msg": redact(record.getMessage())}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            fields["traceback"] = redact("".join(traceback.format_exception(*record.exc_info)))
        return json.dumps(
            {
                "Timestamp": int(record.created * 1e9),
                "Type": record.name,
                "Logger": self._process,
                "Hostname": self._host,
                "EnvVersion": "2.0",
                "Severity": SEVERITIES.get(record.levelname, 6),
                "Pid": record.process,
                "Fields": fields,
            }
        )


def set_up_log(process: str, form: Literal["text", "json"] = "text") -> None:
    """Logs to standard error, one line a record; times in UTC. Under systemd the journal adds time and priority."""
    formatter: logging.Formatter
    if form == "json":
        formatter = JsonFormatter(process)
    elif "JOURNAL_STREAM" in os.environ:
        formatter = JournalFormatter("%(levelname)s %(message)s")
    else:
        text = f"%(asctime)s.%(msecs)03dZ %(levelname)s {process}: %(message)s"
        formatter = TextFormatter(text, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    if os.environ.get(SENTRY_VARIABLE):
        _report_to_sentry(process)


def _report_to_sentry(process: str) -> None:
    """Hands on what goes wrong in us, exceptions and errors that are logged; nothing of what we received."""
    try:
        import sentry_sdk  # noqa: PLC0415 - an extra that few install
    except ImportError:
        log.warning(
            "%s is set, and sentry-sdk is not installed; next: pip install 'lae-monitor[sentry]'", SENTRY_VARIABLE
        )
        return
    sentry_sdk.init(
        release=f"lae-monitor@{__version__}",
        server_name=socket.gethostname(),
        send_default_pii=False,
        include_local_variables=False,  # they hold what clients sent
        default_integrations=True,
        auto_enabling_integrations=False,
    )
    sentry_sdk.set_tag("process", process)
    log.info("errors are reported to the Sentry that %s names", SENTRY_VARIABLE)

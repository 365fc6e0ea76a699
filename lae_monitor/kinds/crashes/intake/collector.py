"""One upload and its answer: read, decided on, made durable, acknowledged. In this order."""

import re
import time
from functools import lru_cache
from typing import Final

from prometheus_client import Counter, Gauge

from lae_monitor.archive import Exists
from lae_monitor.core.names import HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.crashes.check import known_hosts
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.container import path_of
from lae_monitor.kinds.crashes.intake import replies
from lae_monitor.kinds.crashes.intake.admission import Admission, Admitted
from lae_monitor.kinds.crashes.intake.metrics import Measures
from lae_monitor.kinds.crashes.intake.replies import Style
from lae_monitor.kinds.crashes.intake.spool import Spool
from lae_monitor.kinds.crashes.intake.upload import Accepted, Intake
from lae_monitor.kinds.crashes.limits import MAX_COMPARED, MAX_HELD, MAX_HELD_PEER, MAX_PROJECT, RECEIPTS_GATHER
from lae_monitor.kinds.crashes.report import Report, is_same
from lae_monitor.kinds.crashes.tokens import bearer, offered
from lae_monitor.kinds.pace import Budget
from lae_monitor.kinds.receipts import Receipts
from lae_monitor.net.http import Request, reply
from lae_monitor.net.http_router import RETRY_AFTER

ACCEPTED: Final = Counter("lae_crashes_accepted_total", "Crash reports that are durable")
REFUSED: Final = Counter("lae_crashes_refused_total", "Crash reports that were refused, by reason code", ["reason"])
BYTES: Final = Counter("lae_crashes_received_bytes_total", "Bytes of crash reports as they came")
RECEIPTS_LOST: Final = Counter("lae_crashes_receipts_lost_total", "Receipts that the journal did not take")
HELD: Final = Gauge("lae_crashes_held_bytes", "Bytes of reports in progress that are held in memory")
IN_PROGRESS: Final = Gauge("lae_crashes_in_progress", "Uploads that are coming in")

LOCAL: Final = HostName("localhost")  # who comes by a Unix socket
_NO_PROJECTS: Final = frozenset({".", ".."})
_PROJECT: Final = re.compile(r"/api/([^/]+)/minidump/?")


class Collector:
    """Answers uploads, whatever server they came through."""

    def __init__(self, context: Context, settings: Settings, admission: Admission, measures: Measures) -> None:
        self.measures = measures
        self.receipts = Receipts(
            context.journal, "crash", context.cluster, context.clock, lost=RECEIPTS_LOST, gather=RECEIPTS_GATHER
        )
        self._context = context
        self._settings = settings
        self._admission = admission
        self._hosts = known_hosts(context.settings.fleet.inventory)
        self._budget = Budget(MAX_HELD, each=MAX_HELD_PEER)
        HELD.set_function(lambda: self._budget.held)

    async def submit(self, request: Request, style: Style) -> None:
        """Replies as the Socorro family does: `CrashID=bp-<id>` once it is durable, else `Discarded=<code>`.

        Raises:
            Refused: `not_found` for an address below /api/ that takes no minidumps.
        """
        project = project_of(request.path)
        host = self._hosts.get(request.peer) or (_host_at(request.peer) if request.peer else LOCAL)
        begun = time.perf_counter()
        IN_PROGRESS.inc()
        try:
            text = await self._take(request, host, project, style)
        except Refused as refused:
            self._refused(refused, request, host)
            retry = [("retry-after", str(RETRY_AFTER))] if refused.status == 503 else []
            await reply(request.send, refused.status, replies.refused(refused), replies.PLAIN, retry)
        else:
            await reply(request.send, 200, text, replies.PLAIN)
        finally:
            IN_PROGRESS.dec()
            self.measures.took("collector.breakpad_resource.on_post.time", begun)

    async def _take(self, request: Request, host: HostName, project: str, style: Style) -> str:
        """The answer to a report that is durable, or that the rules did not want.

        Raises:
            Refused
        """
        received, begun = self._context.clock(), time.perf_counter()
        async with Spool(self._context.archive, self._budget, request.peer) as spool:
            intake = Intake(request, spool, received, project, self._settings.removed_fields)
            try:
                await self._read(intake, request)
                admitted = self._admission.decide(intake.report, offered(request), received, bearer(request))
                self.measures.decided(admitted.verdict.result.name.lower(), admitted.verdict.rule)
                if admitted.kept:
                    await self._store(intake, admitted, received, host, request)
                    self.measures.took("collector.crashmover.crash_handling.time", begun)
                else:
                    self._discarded(admitted, request, host)
            finally:
                intake.abandon()
        report = intake.report
        if admitted.is_told_an_id:
            return replies.accepted(admitted, report.program, self._settings, style)
        return replies.rejected(admitted)

    async def _read(self, intake: Intake, request: Request) -> None:
        compressed = "content-encoding" in request.headers
        name = "collector.breakpad_resource.gzipped_crash_decompress"
        try:
            await intake.read(self._settings)
        except Refused as refused:
            if compressed and refused.code == "malformed_bad_gzip":
                self.measures.spread(name, request.received, result="fail")
            raise
        self.measures.count("collector.breakpad_resource.incoming_crash")
        if compressed:
            self.measures.count("collector.breakpad_resource.gzipped_crash")
            self.measures.spread(name, request.received, result="success")
        payload = "compressed" if compressed else "uncompressed"
        self.measures.spread("collector.breakpad_resource.crash_size", intake.inflated, payload=payload)

    async def _store(
        self, intake: Intake, admitted: Admitted, received: float, host: HostName, request: Request
    ) -> None:
        report = intake.report
        report.remove(self._settings.removed_fields)
        if admitted.resubmitted:
            report.take("uuid")
        begun = time.perf_counter()
        try:
            accepted = await intake.store(admitted, received, host, self._context.cluster)
        except Exists:
            if not admitted.resubmitted or not await self._is_stored(admitted, report):
                raise
            return  # its sender did not hear the first answer
        self.measures.took("collector.crashmover.crash_save.time", begun)
        self.measures.count("collector.crashmover.save_crash.count")
        self._accepted(accepted, request, host)

    async def _is_stored(self, admitted: Admitted, sent: Report) -> bool:
        """Whether the report that has this id says the same."""
        path = path_of(admitted.crash_id)
        size = await self._context.archive.settle(path)
        if size > MAX_COMPARED:
            return False
        stored = await self._context.archive.read(Span(path, 0, size))
        return is_same(stored, sent.annotations, sent.checksums)

    # ---- receipts --------------------------------------------------------------------------------------------------

    def _accepted(self, accepted: Accepted, request: Request, host: HostName) -> None:
        ACCEPTED.inc()
        BYTES.inc(request.received)
        self.receipts.accepted(
            accepted.span, self._place(host), peer=request.peer, id=accepted.crash_id, size=request.received
        )

    def _refused(self, refused: Refused, request: Request, host: HostName) -> None:
        REFUSED.labels(refused.code).inc()
        self.measures.refused(refused.code)
        self.receipts.refused(refused, self._place(host), peer=request.peer, size=request.received)

    def _discarded(self, admitted: Admitted, request: Request, host: HostName) -> None:
        why = Refused("throttled", f"{admitted.verdict.result.name.lower()} by rule {admitted.verdict.rule}")
        REFUSED.labels(why.code).inc()
        self.receipts.refused(why, self._place(host), peer=request.peer, size=request.received)

    def _place(self, host: HostName) -> Place:
        return Place(self._context.cluster, host)


_host_at = lru_cache(4096)(HostName.from_address)


def project_of(path: str) -> str:
    """The project in `/api/<project>/minidump/`; empty for addresses that are none of Sentry's.

    Raises:
        Refused: `not_found`.
    """
    if not path.startswith("/api/"):
        return ""
    found = _PROJECT.fullmatch(path)
    if found is None or len(found[1]) > MAX_PROJECT or not found[1].isprintable() or found[1] in _NO_PROJECTS:
        raise Refused("not_found")
    if "\ufffd" in found[1]:  # bytes that are no text
        raise Refused("not_found")
    return found[1]

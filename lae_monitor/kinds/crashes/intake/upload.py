"""One upload, from the first byte to a durable file. Memory stays at O(64 KiB + annotations + 1 MiB), whatever comes."""

import asyncio
import urllib.parse
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, cast

from lae_monitor.core.names import ClusterName, CrashId, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.container import Writer, path_of
from lae_monitor.kinds.crashes.intake.admission import Admitted
from lae_monitor.kinds.crashes.intake.parts import Event, Parts, Whole
from lae_monitor.kinds.crashes.intake.spool import Spool
from lae_monitor.kinds.crashes.intake.wire import Part, boundary_of, decoder
from lae_monitor.kinds.crashes.limits import MAX_ANNOTATION, MAX_ANNOTATIONS, RESERVE_STEP, YIELD_AFTER
from lae_monitor.kinds.crashes.minidump import Look
from lae_monitor.kinds.crashes.program import ALL_NAMES, SENTRY_EVENT, Source, sources_in
from lae_monitor.kinds.crashes.report import MINIDUMP, RAW_CRASH, Digest, Report, envelope
from lae_monitor.net.http import Request

MAGIC: Final = b"MDMP"
QUERY_KEYS: Final = ALL_NAMES | {"guid"}  # the rest may be a token
_AS_ANNOTATION: Final = {"product": "prod", "version": "ver"}  # of the query: as the form of the same client has them
MAX_QUERY_VALUE: Final = 200  # characters


@dataclass(frozen=True)
class Accepted:
    """A crash that is durable."""

    crash_id: CrashId
    span: Span


class Intake:
    """Takes the report in `request` and writes it into `spool`.

    Args:
        project: what the address says it is of, if it does.
        unkept: annotations that will not be stored.
    """

    def __init__(
        self, request: Request, spool: Spool, received: float, project: str = "", unkept: Collection[str] = ()
    ) -> None:
        self.report = Report(unkept)
        self.inflated = 0  # bytes of the body after decompression
        self._request = request
        self._spool = spool
        self._project = project
        self._zip = Writer(spool.add, received)
        self._part: Part | None = None  # the one that is coming
        self._is_file = False
        self._bare = False  # a minidump alone, without a form
        self._value = bytearray()  # of an annotation
        self._name = ""  # of a file
        self._begun_at = 0  # where its bytes begin in the spool
        self._places: dict[str, tuple[int, int]] = {}  # of files that may name the program: where, and how many bytes
        self._digest = Digest()
        self._annotations = 0  # bytes
        self._reserved = 0  # of them
        self._since_yield = 0  # bytes

    async def read(self, settings: Settings) -> None:
        """Reads the whole body into `report` and the spool.

        Raises:
            Refused: with what is wrong with it; Full, Failed when its temporary file could not be written.
        """
        request = self._request
        boundary = boundary_of(request.headers.get("content-type"))
        self._bare = boundary is None
        if not request.has_body:
            raise Refused("malformed_no_content_length")
        body = decoder(request.headers.get("content-encoding"), settings.max_inflated)
        parts = Parts(boundary) if boundary is not None else _Bare()
        async for piece in request.stream(settings.max_body):
            for decoded in body.feed(piece):
                await self._take_piece(parts, decoded)
        if not request.received:
            raise Refused("malformed_no_content_length")
        body.finish()
        parts.finish()
        self._finish(body.notes)
        await self._read_program()

    async def _take_piece(self, parts: "Parts | _Bare", piece: bytes) -> None:
        plain = 0  # bytes of annotations that came in one piece; no single one can be too large then
        for event in parts.feed(piece):
            if event.__class__ is not tuple:
                self._take(event)
                continue
            part, data = cast(Whole, event)
            if part.plain:
                plain += len(data)
                self.report.annotate(part, data)
            else:
                self._take_whole(part, data)
        if plain:
            self._count(plain)
        await self._spool.relieve()
        self.inflated += len(piece)
        self._since_yield += len(piece)
        if self._since_yield >= YIELD_AFTER:  # a body that inflates far gives a thousand pieces without waiting once
            self._since_yield = 0
            await asyncio.sleep(0)

    def _finish(self, notes: list[str]) -> None:
        if self._part is not None:
            self._take(None)  # a bare minidump has no end but the body's
        if not self._bare and not self.report.annotations and not self._project:
            raise Refused("malformed_no_annotations")
        for note in notes:
            self.report.note(note)

    async def _read_program(self) -> None:
        """Which program it is of: by its form, else by its address, by its files, and at last by Sentry's project."""
        report = self.report
        program = report.read_program()
        if self._bare or not program.named:
            wanted = QUERY_KEYS if self._bare else ALL_NAMES
            said = {_AS_ANNOTATION.get(key, key): value for key, value in self._query.items() if key in wanted}
            for name in said.keys() - report.annotations.keys():
                report.set(name, said[name])
            program = report.read_program()
        if program.named:
            return
        inside = await self._spool.look(self._look_inside) if self._places else []
        program = report.read_program(inside)
        if self._project and not program.named:
            report.set("prod", self._project)
            if program.version:
                report.set("ver", program.version)
            report.read_program(inside)

    def _look_inside(self, look: Look) -> list[Source]:
        def within(start: int, length: int) -> Look:
            return lambda at, size: look(start + at, min(size, length - at)) if at < length else b""

        return list(sources_in({name: within(*place) for name, place in self._places.items()}, MINIDUMP))

    # ---- the parts -------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if event is None:
            self._end()
        elif isinstance(event, bytes):
            self._add(event)
        elif isinstance(event, Part):
            self._begin(event)

    def _take_whole(self, part: Part, data: bytes) -> None:
        """As `_begin`, `_add` and `_end`."""
        self._begin(part)
        if self._is_file:
            self._add(data)
            self._end()
        else:
            self._count(len(data))
            self.report.annotate(part, data)
            self._part = None

    def _begin(self, part: Part) -> None:
        self._part = part
        self._is_file = part.media != "application/json" and (
            part.filename is not None or part.media not in {"", "text/plain"}
        )
        if self._is_file and part.name:
            self._name = self.report.name_of(part)
            self._digest = Digest()
            self._zip.begin(self._name)
            self._begun_at = self._zip.at

    def _add(self, data: bytes) -> None:
        if not self._is_file:
            self._value += data
            self._count(len(data))
        elif self._name:
            self._digest.feed(data)
            self._zip.write(data)

    def _count(self, size: int) -> None:
        """More bytes of annotations, which stay in memory."""
        self._annotations += size
        if len(self._value) > MAX_ANNOTATION or self._annotations > MAX_ANNOTATIONS:
            raise Refused("body_too_large", f"annotations; limits {MAX_ANNOTATION} and {MAX_ANNOTATIONS} bytes")
        if self._annotations - self._reserved >= RESERVE_STEP:
            self._spool.reserve(self._annotations - self._reserved)
            self._reserved = self._annotations

    def _end(self) -> None:
        part = self._part
        assert part is not None  # the parser sees to it
        if not self._is_file:
            self.report.annotate(part, bytes(self._value))
            self._value.clear()
        elif self._name:
            self._zip.end()
            self.report.add_file(self._name, self._digest.size, self._digest.hexdigest())
            if self._name in {MINIDUMP, SENTRY_EVENT}:
                self._places[self._name] = (self._begun_at, self._digest.size)
        else:
            self.report.note("a file without a name was dropped")
        self._part, self._name = None, ""

    # ---- storing ---------------------------------------------------------------------------------------------------

    @property
    def _query(self) -> dict[str, str]:
        try:
            pairs = urllib.parse.parse_qsl(self._request.query_string, max_num_fields=20)
        except ValueError:
            return {}
        return {key: value[:MAX_QUERY_VALUE] for key, value in pairs if key in QUERY_KEYS}

    async def store(self, admitted: Admitted, received: float, host: HostName, cluster: ClusterName) -> Accepted:
        """Makes the report durable; a report that was stored under its own id before is not stored again.

        Raises:
            Refused: `already_stored` for another report of that id, `shutting_down`.
            Full, Failed: nothing remains.
        """
        request = self._request
        self.report.check()
        about = envelope(
            peer=request.peer,
            host=host,
            cluster=cluster,
            user_agent=request.headers.get("user-agent"),
            size=request.received,
            compressed="content-encoding" in request.headers,
            query=self._query,
        )
        about |= admitted.about()
        if self._bare:
            about["payload"] = "minidump"
        if self._project:
            about["project"] = self._project
        self._zip.add(RAW_CRASH, self.report.raw_crash(admitted.crash_id, received, about))
        self._zip.finish()
        return Accepted(admitted.crash_id, await self._spool.commit(path_of(admitted.crash_id)))

    def abandon(self) -> None:
        """Lets go of what was not stored; does nothing after `store()`."""
        self._zip.abandon()


class _Bare:
    """A body that is one minidump and nothing else; stands where Parts stands for a form."""

    def __init__(self) -> None:
        self._first = b""
        self._begun = False

    def feed(self, data: bytes) -> list[Event]:
        if self._begun:
            return [data]
        self._first += data
        if len(self._first) < len(MAGIC):
            return []
        if not self._first.startswith(MAGIC):
            raise Refused("malformed_wrong_content_type", "neither a form nor a minidump")
        self._begun = True
        return [Part(MINIDUMP, "", "application/octet-stream", ""), self._first]

    def finish(self) -> None:
        if not self._begun:
            raise Refused("malformed_wrong_content_type", "neither a form nor a minidump")

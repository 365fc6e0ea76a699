"""`lae-monitor serve`: mover, store, pages and API; the owner of the embedded store."""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from starlette.routing import Mount, Route, Router

from lae_monitor import __version__
from lae_monitor.alerts.watch import Watch
from lae_monitor.archive import Archive, Journal
from lae_monitor.archive.archive import HINTS
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.archive.identity import NotOurs
from lae_monitor.archive.installation import installation
from lae_monitor.archive.small_files import replace
from lae_monitor.config import Settings
from lae_monitor.core.time import DAY, MINUTE, format_duration
from lae_monitor.mover import Mover
from lae_monitor.mover.ages import rules_of
from lae_monitor.mover.checking import Checks
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.moved_files import MovedFiles
from lae_monitor.mover.rebuild import discard_unfinished
from lae_monitor.mover.retention import STOPPED, Retention, stopped
from lae_monitor.mover.status import watch
from lae_monitor.net.http import Access, Endpoint, operations
from lae_monitor.net.http import serve as serve_http
from lae_monitor.process.logs import set_up_log
from lae_monitor.process.running import (
    SOCKET,
    log_settings,
    notify,
    only_one,
    opened_archive,
    run_until_stopped,
)
from lae_monitor.query.decisions import Decisions
from lae_monitor.service.control import control
from lae_monitor.store import Store, StoreError
from lae_monitor.store.aside import asides, notices, remember, remove, set_aside
from lae_monitor.store.chdb_driver import ChdbDriver
from lae_monitor.store.driver import NewerStore
from lae_monitor.store.sqlite import NewerLedger
from lae_monitor.web import Guard, create_app

log = logging.getLogger(__name__)

PROCESS: Final = "serve"
NODE_URL: Final = "node.url"  # in the state folder: where pages and API are
HOMECOMING_EVERY: Final = 30.0  # seconds between looks for files on fallback roots
RETENTION_EVERY: Final = 10.0  # seconds between looks whether retention is due
STOPPED_RETENTION_EVERY: Final = 10 * MINUTE  # seconds between runs while it stops
ASIDE_EVERY: Final = 30.0  # seconds between looks whether what was set aside can go
MOVED_EVERY: Final = 5.0  # seconds between looks for files that a gatherer moved


def serve(settings: Settings) -> int:
    """Runs until stopped.

    Raises:
        AlreadyRunning
    """
    set_up_log(PROCESS, settings.log.format)
    log_settings(settings)

    async def main(stop: asyncio.Event) -> int:
        async with opened_archive(settings, PROCESS) as archive, opened_mover(settings, archive) as mover:
            return await _serve(settings, archive, mover, stop)

    with only_one(settings.state.path, PROCESS):
        for left in (NODE_URL, SOCKET):  # by one that was killed: no server answers there
            (settings.state.path / left).unlink(missing_ok=True)
        try:
            return run_until_stopped(main)
        except StoreError as error:
            log.critical("the store cannot be used, what comes waits in the archive: %s", error)
            return os.EX_UNAVAILABLE


@asynccontextmanager
async def opened_store(settings: Settings, *, mend: bool = False) -> AsyncIterator[Store]:
    """The embedded store.

    Args:
        mend: set one aside that cannot be opened, and begin a new one. Only for the process that fills it again.

    Raises:
        StoreError: another process has it open, it is of a newer release, the disk is to blame, or the folder is not ours.
    """
    ours = installation(settings)
    if mend and asides(settings.store_path) and not settings.store_path.exists():  # killed before it was made anew
        with suppress(OSError):
            settings.store_path.resolve().mkdir(mode=0o700)
            await asyncio.to_thread(ours.adopt, settings.store_path, "store")
    try:
        with suppress(OSError):  # opening it says better what is wrong
            await asyncio.to_thread(ours.check_store, settings.store_path)
    except NotOurs as error:
        raise StoreError(str(error)) from error
    try:
        store = await _open_store(settings)
    except StoreError as error:
        if not mend or error.transient or error.in_use or isinstance(error, NewerStore):
            raise
        try:
            set_aside(settings.store_path, str(error))
            await asyncio.to_thread(ours.adopt, settings.store_path, "store")
        except OSError as disk:
            raise StoreError(f"{error}; it is not set aside: {disk}") from error
        store = await _open_store(settings)
    try:
        yield store
    finally:
        await store.close()


async def _open_store(settings: Settings) -> Store:
    driver = await asyncio.to_thread(
        ChdbDriver, settings.store_path, memory=settings.store.memory, readers=settings.store.readers
    )
    try:
        return await Store(driver, kinds=settings.kinds).open()
    except BaseException:
        await driver.close()
        raise


@asynccontextmanager
async def opened_mover(settings: Settings, archive: Archive) -> AsyncIterator[Mover]:
    """Store and ledger, brought together, and the mover between archive and store."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings, mend=True))
        try:
            ledger = Ledger(settings.state.path / "mover.db")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(str(error)) from error
        mover = Mover(
            archive,
            store,
            ledger,
            folders=settings.kinds.folders,
            find_reader=settings.kinds.reader,
            hints=settings.state.path / HINTS,
            journal=Journal(archive),
        )
        stack.callback(lambda: mover.ledger.close())  # noqa: PLW0108 - a rebuild gives the mover another ledger
        await discard_unfinished(mover)
        await mover.recover()
        yield mover


async def _serve(settings: Settings, archive: Archive, mover: Mover, stop: asyncio.Event) -> int:
    node_url = settings.state.path / NODE_URL

    def ready(url: str) -> None:
        replace(node_url, f"{url}/\n".encode())
        log.info("pages and API at %s/", url)
        notify("READY=1", f"STATUS={url}/")

    fleet = str(settings.fleet.name)
    access = Access(settings.credentials)
    pages = create_app(
        mover.store,
        archive,
        fleet=fleet,
        retry=mover.retry,
        status=lambda: status(mover, archive),
        decisions=Decisions(mover.store, archive, Journal(archive)),
        access=access,
    )
    alarms = _Alarms(settings, mover, archive)
    retention = Retention(mover, rules_of(settings))
    retiring = _Retiring(mover, retention)
    machine = operations(
        archive,
        __version__,
        warnings=lambda: [*filter(None, [alarms.trouble, _retention_trouble(mover)]), *notices()],
        access=access,
    )
    app = Router(
        [
            *(Route(one.path, Endpoint(one)) for one in machine),
            *(
                Route(one.path, Guard(Endpoint(one), fleet, access, mover.store.kinds))
                for one in control(mover, retention, stop)
            ),
            Mount("/", pages),
        ]
    )
    watch(mover.state, lambda: mover.ledger)
    checks = Checks(mover, Journal(archive))
    mover.store.on_damage = checks.want
    aside = _Asides(settings, mover, Journal(archive), checks)

    parts = {
        "mover": asyncio.create_task(mover.run(stop)),
        "pages": asyncio.create_task(
            serve_http(
                app,
                settings.web.listen.host,
                settings.web.listen.port,
                stop=stop,
                ready=ready,
                socket_path=settings.state.path / SOCKET,
            )
        ),
        "homecoming": asyncio.create_task(_every(HOMECOMING_EVERY, stop, lambda: bring_home(archive), "came home")),
        "retention": asyncio.create_task(_every(RETENTION_EVERY, stop, retiring.run_if_due, "were retired")),
        "moved files": asyncio.create_task(
            _every(MOVED_EVERY, stop, MovedFiles(mover).take_back, "went to another host")
        ),
        "alarms": asyncio.create_task(alarms.run(stop)),
        "checks": asyncio.create_task(checks.run(stop)),
        "set aside": asyncio.create_task(_every(ASIDE_EVERY, stop, aside.look, "that were set aside were removed")),
        "outdated quarantine": asyncio.create_task(mover.retry_outdated()),
    }
    try:
        lasting = [task for name, task in parts.items() if name != "outdated quarantine"]
        await asyncio.wait(lasting, return_when=asyncio.FIRST_COMPLETED)
        unexpected = not stop.is_set()
        stop.set()
        for name, task in parts.items():
            if name not in {"mover", "pages"}:  # the others go on at the next start
                task.cancel()
        results = await asyncio.gather(*parts.values(), return_exceptions=True)
        for name, result in zip(parts, results, strict=True):
            if isinstance(result, Exception):
                log.error("%s ended: %s", name, result, exc_info=result)
        return 1 if unexpected else 0
    finally:
        node_url.unlink(missing_ok=True)
        log.info("stopped")


async def _every(seconds: float, stop: asyncio.Event, job: Callable[[], Awaitable[int]], what: str) -> None:
    """Runs `job` now and every `seconds`; what goes wrong with it is logged, and it is tried again."""
    while not stop.is_set():
        try:
            if files := await job():
                log.info("%d files %s", files, what)
        except Exception:
            log.exception("files that should have %s did not; again in %s", what, format_duration(seconds))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


class _Alarms:
    """Alarms, for as long as `serve` runs: what is wrong with them hinders nothing else, and is told."""

    def __init__(self, settings: Settings, mover: Mover, archive: Archive) -> None:
        self._parts = settings, mover, Journal(archive)
        self._watch: Watch | None = None
        self._ended = ""

    @property
    def trouble(self) -> str:
        """Why there are none; "" when all is well."""
        return self._ended or (self._watch.trouble if self._watch is not None else "")

    async def run(self, stop: asyncio.Event) -> None:
        try:
            self._watch = Watch(*self._parts)
            await self._watch.run(stop)
        except (sqlite3.Error, OSError) as error:
            with_traceback = not isinstance(error, NewerLedger)
            log.error("no alarms, until this is mended and serve restarted: %s", error, exc_info=with_traceback)  # noqa: TRY400
            self._ended = f"there are no alarms: {error}"
        await stop.wait()


def _retention_trouble(mover: Mover) -> str:
    found = stopped(mover.ledger.fact(STOPPED))
    return f"retention stopped: {found.why}" if found is not None else ""


class _Retiring:
    """Runs retention once a day, once everything was moved, and the store checked: it knows products and decisions. After it
    stopped it runs more often: a clock is set right soon.
    """

    def __init__(self, mover: Mover, retention: Retention) -> None:
        self._mover = mover
        self._retention = retention
        self._due = 0.0  # by time.monotonic()

    async def run_if_due(self) -> int:
        state = self._mover.state
        if not (state.caught_up and state.checked) or time.monotonic() < self._due:
            return 0
        gone, plan = await self._retention.run()
        self._due = time.monotonic() + (STOPPED_RETENTION_EVERY if plan.why else DAY)
        return gone


class _Asides:
    """Says on the timeline what was set aside. It goes once the new one has every row; all of it, of other processes too,
    when less space is free than the reserve.
    """

    def __init__(self, settings: Settings, mover: Mover, journal: Journal, checks: Checks) -> None:
        self._settings = settings
        self._mover = mover
        self._journal = journal
        self._checks = checks
        said = set(notices())
        for path in (settings.store_path, mover.ledger.path):
            remember(path)
        self._said = set(notices()) - said  # on the timeline already

    async def look(self) -> int:
        for notice in set(notices()) - self._said:
            title = "What could not be opened was set aside, and is made anew"
            await self._journal.write("alarm", rule="store", level="warning", title=title, text=notice)
            self._said.add(notice)
        folder, state = self._settings.state.path, self._mover.state
        found = [*asides(self._settings.store_path), *asides(self._mover.ledger.path)]
        has_all = state.caught_up and not state.waiting and not self._mover.archive.silent()
        if not (has_all and self._checks.whole):
            if not any(map(self._is_tight, (folder, self._settings.store_path))):
                return 0
            found += [place for place in folder.glob("*.db.aside-*") if place not in found]
        for place in found:
            await asyncio.to_thread(remove, place)
        return len(found)

    def _is_tight(self, folder: Path) -> bool:
        space = os.statvfs(folder)
        return space.f_bavail * space.f_frsize < self._settings.archive.reserve.reserve().of(
            space.f_blocks * space.f_frsize
        )


def status(mover: Mover, archive: Archive) -> dict[str, Any]:
    """What pages and `store status` show of the machinery."""
    state = mover.state
    return {
        "version": __version__,
        "archive": archive.health(),
        "mover": {
            "waiting": state.waiting,
            "oldest_seconds": round(state.oldest, 3),
            "batches": state.batches,
            "rows": state.rows,
            "failures": state.failures,
            "caught_up": state.caught_up and not state.waiting,
            "error": state.error,
            "last": state.last,
        },
        "retention": {"stopped": found.why if (found := stopped(mover.ledger.fact(STOPPED))) is not None else ""},
        "set_aside": notices(),
        "quarantine": [
            {"id": item.id, **item.span._asdict(), "reason": item.reason} for item in mover.ledger.quarantined()
        ],
    }

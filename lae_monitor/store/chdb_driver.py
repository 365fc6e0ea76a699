"""The embedded engine. One process owns the folder; one Session a thread; never forked.

Traps that this file avoids (measured, see docs/store.md): a Session serialises its queries, so readers have their own;
importing chdb leaves SIGPIPE blocked, which children would inherit; default caches are made for big servers; its streaming
insert loses errors; after a query that failed half-way, the Session's next answer begins with rows of the failed one; the
reason why the folder cannot be opened is written to standard error only.
"""

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lae_monitor.core.limits import MiB
from lae_monitor.store.driver import NO_SPACE, Batch, Parameter, StoreError, parameter_text

log = logging.getLogger(__name__)

T = TypeVar("T")

CACHE: Final = 16 * MiB  # each of the engine's caches; their defaults are 2-5 GiB
ROOM: Final = 32 * MiB  # free space that changing statements need; a DELETE on a full disk leaves empty mutation files
QUERY_SHARE: Final = 0.5  # of the engine's memory for one query, so that inserts go on meanwhile
_CACHES: Final = (
    "mark_cache_size",
    "primary_index_cache_size",
    "index_mark_cache_size",
    "index_uncompressed_cache_size",
    "uncompressed_cache_size",
    "query_condition_cache_size",
)
_decode = msgspec.json.Decoder(dict[str, Any]).decode_lines


class ChdbDriver:
    """Opens (and makes) the engine's folder. Every method raises StoreError.

    Args:
        path: the folder; nobody else may have it open, not even to read.
        memory: bytes the engine may allocate.
        readers: queries that run at the same time.

    Raises:
        StoreError: the folder is in use or not usable.
    """

    def __init__(self, path: Path, *, memory: int, readers: int = 2) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_empty_mutations(path)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror} (errno: {error.errno})") from error
        self._path = path
        options = "&".join([f"max_server_memory_usage={memory}", *(f"{cache}={CACHE}" for cache in _CACHES)])
        self._url = f"{path}?{options}"
        self._settings = (
            f"SET max_memory_usage={int(memory * QUERY_SHARE)}",
            "SET max_threads=2",
            "SET max_threads_min_free_memory_per_thread=0",
            "SET session_timezone='UTC'",
            "SET output_format_json_quote_64bit_integers=0",
            "SET output_format_json_quote_denormals=0",
            "SET do_not_merge_across_partitions_select_final=1",
        )
        self._local = threading.local()
        self._sessions: list[Any] = []
        self._first: Any = None
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(readers, "store-reader")
        self._aside = ThreadPoolExecutor(1, "store-aside")  # for queries that take long
        said: list[str] = []
        try:
            with _standard_error(said):
                self._writer.submit(self._guarded, lambda session: session.query("SELECT 1")).result()
        except StoreError as error:
            why = next((line for line in said if "Exception" in line), "it says no more")[:1000]
            raise StoreError(f"{path}: {error}: {why}; is another lae-monitor using it?", error.code) from error

    def _session(self) -> Any:
        session = getattr(self._local, "session", None)
        if session is None:
            # Imported here: half a second, and 200 MB that only the store's owner pays.
            session = import_module("chdb.session").Session(self._url)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
            for setting in self._settings:
                session.query(setting)
            self._local.session = session
            self._sessions.append(session)
            self._first = self._first or session
        return session

    def _guarded(self, job: Callable[[Any], T]) -> T:
        """Runs `job` with this thread's Session; chdb raises bare RuntimeErrors with ClickHouse's code in the text."""
        try:
            return job(self._session())
        except Exception as error:
            self._drop_session()  # what the failed query left in it would be in the next answer
            text = str(error)
            found = re.search(r"Code: (\d+)", text)
            raise StoreError(text.partition("\n")[0][:2000], int(found[1]) if found else 0) from error

    def _drop_session(self) -> None:
        session, self._local.session = getattr(self._local, "session", None), None
        if session is not None and session is not self._first:  # without any, the engine would end
            self._sessions.remove(session)
            session.close()

    async def _run(self, pool: ThreadPoolExecutor, job: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, self._guarded, job)

    async def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        """Runs a statement that answers nothing, in the order given."""
        await self._run(self._writer, lambda session: session.query(sql, "TSV", params=_texts(parameters)))

    async def rows(
        self,
        sql: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        seconds: float = 30.0,
        batch: Batch | None = None,
        aside: bool = False,
        inserting: bool = False,
    ) -> list[dict[str, Any]]:
        """The rows of a query, as dictionaries. `{name:Type}` in the SQL takes `parameters[name]`.

        Args:
            seconds: the engine stops the query after this long.
            batch: rows that the query reads as the table `{batch}`.
            aside: it may take long, and must not keep a reader that pages need.
            inserting: an insert waits for it, which must wait for no query.
        """

        def query(session: Any, table: str = "") -> list[dict[str, Any]]:
            limited = f"{sql.replace('{batch}', table)} SETTINGS max_execution_time={seconds}"
            answer = session.query(limited, "JSONEachRow", params=_texts(parameters))
            return _decode(answer.bytes() or b"")

        def query_with_batch(session: Any) -> list[dict[str, Any]]:
            assert batch is not None
            with _as_table(batch) as table:
                return query(session, table)

        pool = self._writer if inserting else self._aside if aside else self._readers
        return await self._run(pool, query if batch is None else query_with_batch)

    async def insert(self, table: str, batch: Batch, token: str) -> None:
        """`batch` into `table`, once: the same `token` again inserts nothing.

        Args:
            table: with its database.
            token: what the batch is, for ever: the engine drops another batch with the same token without a word.
        """
        # Not send_insert(), which reports rows as written although the engine refused them when it came to commit.
        names = ", ".join(f"`{name}`" for name in batch.columns)

        def insert(session: Any) -> None:
            with _as_table(batch) as rows:
                session.query(
                    f"INSERT INTO {table} ({names}) SETTINGS insert_deduplicate=1, max_partitions_per_insert_block=0, "
                    f"insert_deduplication_token={_quoted(token)} SELECT {names} FROM {rows}"
                )

        await self._run(self._writer, insert)

    def check_room(self) -> None:
        """
        Raises:
            StoreError: there is too little space for a statement that changes what is stored. Half done, it would leave
                files by which the store does not open again.
        """
        status = os.statvfs(self._path)
        if (free := status.f_bavail * status.f_frsize) < ROOM:
            message = f"{free:,} bytes are free at {self._path}, {ROOM:,} are needed to change what is stored"
            raise StoreError(message, NO_SPACE)

    async def close(self) -> None:
        """Waits for what is running; the folder is free afterwards."""
        for pool in (self._aside, self._readers, self._writer):
            await asyncio.to_thread(pool.shutdown)
        for session in self._sessions:
            session.close()
        self._sessions.clear()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _texts(parameters: Mapping[str, Parameter] | None) -> dict[str, str]:
    return {name: parameter_text(value) for name, value in (parameters or {}).items()}


@contextmanager
def _as_table(batch: Batch) -> Iterator[str]:
    """`batch` as something that stands after FROM."""
    structure = ", ".join(f"`{name}` {kind}" for name, kind in batch.columns.items())
    fd = os.memfd_create("lae-batch", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(batch.arrow)
        yield f"file('/proc/self/fd/{fd}', 'ArrowStream', {_quoted(structure)})"
    finally:
        os.close(fd)


@contextmanager
def _standard_error(said: list[str]) -> Iterator[None]:
    """Collects the lines that the engine writes to standard error, and passes them on afterwards."""
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("lae-stderr", os.MFD_CLOEXEC), "w+b") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()
    if said:
        os.write(2, "".join(f"{line[:2000]}\n" for line in said).encode())


def _remove_empty_mutations(path: Path) -> None:
    """A DELETE that found no space leaves an empty file, by which its table does not open again. It deleted nothing, and its
    caller repeats it.
    """
    for file in path.glob("store/*/*/mutation_*.txt"):
        if file.stat().st_size == 0:
            log.warning("%s is empty, of a DELETE on a full disk: removed", file)
            file.unlink()

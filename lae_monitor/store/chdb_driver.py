"""The embedded engine. One process owns the folder; one Session a thread; never forked.

Traps that this file avoids (measured, see docs/store.md): a Session serialises its queries, so readers have their own;
importing chdb leaves SIGPIPE blocked, which children would inherit; default caches are made for big servers; its streaming
insert loses errors.
"""

import asyncio
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lae_monitor.core.limits import MiB
from lae_monitor.store.driver import Parameter, StoreError, parameter_text

T = TypeVar("T")

CACHE: Final = 16 * MiB  # each of the engine's caches; their defaults are 2-5 GiB
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
    """Opens (and makes) the engine's folder.

    Args:
        path: the folder; nobody else may have it open, not even to read.
        memory: bytes the engine may allocate.
        readers: queries that run at the same time.

    Raises:
        StoreError: the folder is in use or not usable.
    """

    def __init__(self, path: Path, *, memory: int, readers: int = 2) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(readers, "store-reader")
        try:
            self._writer.submit(lambda: _guarded(lambda: self._session().query("SELECT 1"))).result()
        except StoreError as error:
            raise StoreError(f"{path}: {error}; is another lae-monitor using it?", error.code) from error

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
        return session

    async def _run(self, pool: ThreadPoolExecutor, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: _guarded(job))

    async def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        await self._run(self._writer, lambda: self._session().query(sql, "TSV", params=_texts(parameters)))

    async def rows(
        self, sql: str, parameters: Mapping[str, Parameter] | None = None, *, seconds: float = 30.0
    ) -> list[dict[str, Any]]:
        limited = f"{sql} SETTINGS max_execution_time={seconds}"

        def query() -> list[dict[str, Any]]:
            answer = self._session().query(limited, "JSONEachRow", params=_texts(parameters))
            return _decode(answer.bytes() or b"")

        return await self._run(self._readers, query)

    async def insert(self, table: str, columns: Mapping[str, str], arrow: bytes, token: str) -> None:
        # Not send_insert(), which reports rows as written although the engine refused them when it came to commit.
        names = ", ".join(f"`{name}`" for name in columns)
        structure = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())

        def insert() -> None:
            batch = os.memfd_create("lae-batch", os.MFD_CLOEXEC)
            try:
                with open(batch, "wb", closefd=False) as file:
                    file.write(arrow)
                self._session().query(
                    f"INSERT INTO {table} ({names}) SETTINGS insert_deduplicate=1, max_partitions_per_insert_block=0, "
                    f"insert_deduplication_token={_quoted(token)} SELECT {names} "
                    f"FROM file('/proc/self/fd/{batch}', 'ArrowStream', {_quoted(structure)})"
                )
            finally:
                os.close(batch)

        await self._run(self._writer, insert)

    async def close(self) -> None:
        """Waits for what is running; the folder is free afterwards."""
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._writer.shutdown)
        for session in self._sessions:
            session.close()
        self._sessions.clear()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _texts(parameters: Mapping[str, Parameter] | None) -> dict[str, str]:
    return {name: parameter_text(value) for name, value in (parameters or {}).items()}


def _guarded(job: Callable[[], T]) -> T:
    """Runs `job`; chdb raises bare RuntimeErrors (and its own) with ClickHouse's code in the text."""
    try:
        return job()
    except StoreError:
        raise
    except Exception as error:
        text = str(error)
        found = re.search(r"Code: (\d+)", text)
        raise StoreError(text.partition("\n")[0][:2000], int(found[1]) if found else 0) from error

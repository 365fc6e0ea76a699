"""Accepts samples over HTTP as infiltrate does, and acknowledges them only when they are on disk.

    POST /sonar-freecsv?cluster=NAME      Content-Type: text/csv, lines of free CSV

A post is checked whole before anything of it is stored. Its lines go as they came to

    sonar/<cluster>/<YYYY>/<MM>/<DD>/<host>.csv      the UTC day of the record

If one of several files cannot be written the answer is 503, and the node sends all of it again; what was stored twice shows
once. Nothing here understands more of a line than its host and time: that is read.py's part.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from lae_monitor import __version__
from lae_monitor.config import ConfigError
from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.names import ClusterName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.pace import Budget
from lae_monitor.kinds.receipts import Receipts
from lae_monitor.kinds.sonar.check import fatal
from lae_monitor.kinds.sonar.config import Settings
from lae_monitor.kinds.sonar.free_csv import Post, host_of_file
from lae_monitor.kinds.sonar.tokens import auth_file, passwords_in
from lae_monitor.net.http import Request, Route, Router, operations, reply, serve
from lae_monitor.net.http_router import RETRY_AFTER

ADDRESS: Final = "/sonar-freecsv"
METHODS: Final = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")  # all but POST are refused, with a receipt
COMMITS: Final = 64  # files that are written at the same time; more would only queue for the archive's 8 writers

GATHER: Final = 0.25  # seconds for which receipts wait for others: each sync keeps posts waiting

POSTS: Final = Counter("lae_sonar_posts_total", "Posts, by what became of them", ["verdict", "reason"])
LINES: Final = Counter("lae_sonar_lines_total", "Lines that were acknowledged")
BYTES: Final = Counter("lae_sonar_bytes_total", "Bytes that were acknowledged")
SUPPRESSED: Final = Counter("lae_sonar_receipts_suppressed_total", "Receipts not written one by one", ["reason"])
LOST: Final = Counter("lae_sonar_receipts_lost_total", "Receipts that the journal could not take; the samples are safe")
STORING: Final = Histogram("lae_sonar_store_seconds", "From a post that was checked to one that is on disk")

# The words that infiltrate answers with, which people search for; our code stands in the header X-Refused.
_WORDS: Final = {
    "bad_method": "Bad method",
    "sonar_bad_method": "Bad method",
    "bad_content_type": "Bad content-type",
    "unauthorized": "Unauthorized",
    "sonar_wrong_cluster": "Unauthorized",
    "bad_parameters": "Bad parameters",
    "bad_cluster_name": "Bad parameters",
    "not_found": "404 page not found",
}


async def gather(context: Context) -> None:
    """Serves until `context.stop` is set; then finishes what has begun.

    Raises:
        ConfigError: the settings do not allow to begin.
        OSError: the address cannot be listened on.
    """
    problems = list(fatal(context.settings))
    if problems:
        raise ConfigError(problems)
    settings: Settings = context.settings.gatherers["sonar"]
    receipts = Receipts(context.journal, "sonar", "", context.clock, lost=LOST, suppressed=SUPPRESSED, gather=GATHER)
    posts = Posts(context, settings, receipts)
    app = Router(
        [
            Route(path=ADDRESS, methods=dict.fromkeys(METHODS, posts.answer), wrong_method="sonar_bad_method"),
            *operations(context.archive, __version__, access=context.access),
        ],
        trusted_proxies=settings.trusted_proxies,
        explain=words,
    )

    def ready(url: str) -> None:
        context.ready(f"Sonar samples: POST {url}{ADDRESS}?cluster=NAME")

    async with receipts:
        await serve(
            app,
            settings.listen.host,
            settings.listen.port,
            stop=context.stop,
            ready=ready,
            trusted_proxies=settings.trusted_proxies,
        )


def words(refused: Refused) -> str:
    """The answer's text: infiltrate's words where it has any, else the reason."""
    return _WORDS.get(refused.code) or ("Bad content" if refused.status == 400 else refused.reason.text)


class Posts:
    """Answers POST /sonar-freecsv."""

    def __init__(self, context: Context, settings: Settings, receipts: Receipts) -> None:
        path = auth_file(context.settings)
        self._passwords = passwords_in(path) if path else None
        self._settings = settings
        self._archive = context.archive
        self._clock = context.clock
        self._receipts = receipts
        self._memory = PostMemory(settings.max_body)
        self._commits = asyncio.Semaphore(COMMITS)

    async def answer(self, request: Request) -> None:
        try:
            cluster, spans, lines = await self._take(request)
        except Refused as refused:
            POSTS.labels("refused", refused.code).inc()
            place = Place(_cluster_or_none(request), "")
            self._receipts.refused(refused, place, peer=request.peer, size=request.received)
            headers = [("X-Refused", refused.code)]
            if refused.status == 503:
                headers.append(("Retry-After", str(RETRY_AFTER)))
            await reply(request.send, refused.status, words(refused), headers=headers)
            return
        POSTS.labels("accepted", "").inc()
        LINES.inc(lines)
        BYTES.inc(sum(span.end - span.start for span in spans))
        await reply(request.send, 200)
        for span in spans:
            place = Place(cluster, host_of_file(span.path.rpartition("/")[2]))
            detail = f"lines in the post: {lines}"
            self._receipts.accepted(span, place, peer=request.peer, id=f"{span.path}:{span.start}", detail=detail)

    async def _take(self, request: Request) -> tuple[ClusterName, Sequence[Span], int]:
        """Stores the post; returns whose it is, where it lies, and how many lines it has. The order is infiltrate's."""
        if request.method != "POST":
            raise Refused("sonar_bad_method", raw=request.method)
        _check_content_type(request)
        user = self._user(request)
        with self._memory.post() as grow:
            pieces = []
            async for piece in request.stream(self._settings.max_body):
                grow(len(piece))
                pieces.append(piece)
            body = b"".join(pieces)
            del pieces
            cluster = self._cluster(request, user)
            post = Post(body, cluster, self._clock())
            for _ in post.check():
                await asyncio.sleep(0)
            spans = await self._store(post.files())
        return cluster, spans, post.lines

    def _user(self, request: Request) -> str | None:
        """Who sends; None where anybody may.

        Raises:
            Refused: `unauthorized`, `credentials_unreadable`.
        """
        headers = request.headers.all("authorization")
        if self._passwords is None:
            if headers:  # as infiltrate: the node believes in a password that we know nothing of
                raise Refused("unauthorized", "sent a password, and there is no auth_file")
            return None
        return self._passwords.user_of(headers[0] if len(headers) == 1 else None)

    def _cluster(self, request: Request, user: str | None) -> ClusterName:
        """Whose samples these are.

        Raises:
            Refused: `bad_parameters`, `bad_cluster_name`, `sonar_wrong_cluster`.
        """
        name = request.query.get("cluster")
        if name is None:
            raise Refused("bad_parameters", "no cluster")
        cluster = ClusterName(name)
        if user is not None and user != cluster and self._settings.match_user_and_cluster:
            raise Refused("sonar_wrong_cluster", f"cluster {cluster}, user", raw=user)
        return cluster

    async def _store(self, files: dict[str, bytes]) -> Sequence[Span]:
        """Appends to all `files`; returns when all of it is durable.

        Raises:
            Full, Failed: one was not written; others may have been.
        """
        begun = time.perf_counter()
        results = await asyncio.gather(
            *(self._append(path, data) for path, data in files.items()), return_exceptions=True
        )
        spans = [result for result in results if isinstance(result, Span)]
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        STORING.observe(time.perf_counter() - begun)
        return spans

    async def _append(self, path: str, data: bytes) -> Span:
        async with self._commits:
            return await self._archive.append(path, data)


def _check_content_type(request: Request) -> None:
    """
    Raises:
        Refused: `bad_content_type`.
    """
    kinds = request.headers.all("content-type")
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "text/csv":
        raise Refused("bad_content_type", "not text/csv:", raw=", ".join(kinds))
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Refused("bad_content_type", "compressed:", raw=encoding)


def _cluster_or_none(request: Request) -> str:
    """The cluster that a refused post names, for its receipt; empty when it names none that could be one."""
    try:
        return ClusterName(request.query.get("cluster", ""))
    except Refused:
        return ""


# How many bytes of posts may be in memory at once. What is beyond gets 503, and the nodes' curl tries again.
#
# The first bytes of every post count apart from the rest of large ones, so that a few large or slow posts do not keep the
# usual ones out.
SMALL: Final = 64 * KiB  # bytes of a post that count as small; a node with 300 processes sends that
MAX_SMALL: Final = 8 * MiB  # of all posts: a thousand nodes with 8 KiB each at the same moment
MAX_LARGE: Final = 16 * MiB  # what posts have beyond SMALL, all together; at least one of the largest always fits

WAITING: Final = Gauge("lae_sonar_waiting_bytes", "Bytes of posts that are in memory and not yet answered")


class PostMemory:
    """The bytes of all posts that are being received, checked and stored.

    Args:
        max_body: the largest post that is accepted.
    """

    def __init__(self, max_body: int) -> None:
        self._small = Budget(MAX_SMALL)
        self._large = Budget(max(MAX_LARGE, max_body))
        WAITING.set_function(lambda: self._small.held + self._large.held)

    @contextmanager
    def post(self) -> Iterator[Callable[[int], None]]:
        """One post; call what it gives with the size of each piece, which raises Refused `busy` when that is too much."""
        held = {self._small: 0, self._large: 0}

        def grow(by: int) -> None:
            first = min(by, SMALL - held[self._small])
            for budget, size in ((self._small, first), (self._large, by - first)):
                if not budget.take(size):
                    raise Refused("busy", f"{self._small.held + self._large.held} bytes")
                held[budget] += size

        try:
            yield grow
        finally:
            for budget, size in held.items():
                budget.give(size)

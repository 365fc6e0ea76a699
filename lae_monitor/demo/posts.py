"""One HTTP request of a pretend client, sent again while the other side is not there, as curl's --retry does."""

import asyncio
import http.client
import logging
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

TIMEOUT: Final = 30.0  # seconds for one attempt
ATTEMPTS: Final = 12  # as production nodes: curl --retry 11 --retry-connrefused
PAUSE: Final = 0.5  # seconds before the second attempt; doubled for each further one
LONGEST_PAUSE: Final = 8.0
CHUNK: Final = 4096  # bytes of a chunked body's pieces


class Post(NamedTuple):
    """A request.

    Args:
        address: `127.0.0.1:8000`.
        chunked: sent without Content-Length, as Crashpad does.
        source: the address to send from; "" for any.
    """

    address: str
    target: str
    headers: dict[str, str]
    body: bytes
    chunked: bool = False
    source: str = ""

    @property
    def pieces(self) -> list[bytes]:
        return [self.body[start : start + CHUNK] for start in range(0, len(self.body), CHUNK)]


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str


async def send(post: Post) -> Answer | None:
    """Sends `post` until it is answered by something else than 503; None when that did not come about."""
    pause = PAUSE
    for _ in range(ATTEMPTS):
        try:
            answer = await asyncio.to_thread(attempt, post)
        except (OSError, http.client.HTTPException) as error:
            log.debug("%s%s: %s", post.address, post.target, error)
        else:
            if answer.status != http.client.SERVICE_UNAVAILABLE:
                return answer
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)
    log.warning("%s%s: given up after %d attempts", post.address, post.target, ATTEMPTS)
    return None


def attempt(post: Post) -> Answer:
    """Sends `post` once.

    Raises:
        OSError, http.client.HTTPException: no answer.
    """
    source = (post.source, 0) if post.source else None
    connection = http.client.HTTPConnection(post.address, timeout=TIMEOUT, source_address=source)
    try:
        if post.chunked:
            headers = post.headers | {"Transfer-Encoding": "chunked"}
            connection.request("POST", post.target, iter(post.pieces), headers, encode_chunked=True)
        else:
            connection.request("POST", post.target, post.body, post.headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(4096).decode("utf-8", "replace"))
    finally:
        connection.close()

"""A message by POST. Format: docs/alerts.md#webhook."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import msgspec

from lae_monitor import __version__
from lae_monitor.alerts import message as words
from lae_monitor.alerts.ledger import Message
from lae_monitor.alerts.mail import NotDelivered
from lae_monitor.core.secrets import HIDDEN, Secret

if TYPE_CHECKING:
    import httpx

MAX_REPLY: Final = 300  # bytes of a reply that says why not


async def send(url: str, token: Secret | None, monitor: str, message: Message, pages_url: str, within: float) -> None:
    """Posts it; done with any status of 2xx. Proxies of the environment are not used, nobody is followed elsewhere.

    Args:
        url: may be a secret, and is never part of an error.
        within: seconds for all of it.

    Raises:
        NotDelivered
    """
    import httpx  # noqa: PLC0415 - a hundred modules, a fifth of the time in which serve starts; only for webhooks

    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"lae-monitor/{__version__}",
        "Idempotency-Key": message.id,  # the same each time that it is tried
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    trusted = ssl.create_default_context()  # those whom this host trusts, which may be more than httpx does by itself
    body = msgspec.json.encode(words.document(monitor, message, pages_url))
    try:
        async with (
            asyncio.timeout(within),
            httpx.AsyncClient(trust_env=False, timeout=within, verify=trusted) as client,
            client.stream("POST", url, content=body, headers=headers) as reply,
        ):
            said = b"" if reply.is_success else await _beginning(reply)
    except TimeoutError as error:
        raise NotDelivered(f"no answer within {within:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise NotDelivered(_without(str(error), url, token) or type(error).__name__) from error
    if not reply.is_success:
        why = f"it answered {reply.status_code}: {said.decode('utf-8', 'replace')}".rstrip(": ")
        raise NotDelivered(_without(why, url, token))


def _without(said: str, url: str, token: Secret | None) -> str:
    """What somebody else says may hold what we told him."""
    hidden = said.replace(url, "the webhook")
    return hidden if token is None else hidden.replace(token.reveal(), HIDDEN)


async def _beginning(reply: "httpx.Response") -> bytes:
    said = b""
    async for piece in reply.aiter_bytes():
        said += piece
        if len(said) >= MAX_REPLY:
            break
    return said[:MAX_REPLY]

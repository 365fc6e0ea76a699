"""Who may do what on our HTTP listeners.

Root and the account of this process may do everything, without a token, when the kernel says that they are at the other end
(net/peer.py) and no proxy handed the request on: a proxy that runs as root must not lend its identity to whom it serves.
A token gives what its role allows, to root too. Tokens stand in `credentials/web/tokens.txt`, a line each, as
salted hashes: `viewer:sha256$...`; `lae-monitor token new web` makes them.
"""

import ipaddress
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lae_monitor.core.refusals import Refused
from lae_monitor.net.http_request import Headers
from lae_monitor.net.passwords import CredentialsError, Passwords, parse_basic
from lae_monitor.net.peer import PEER_STATE, Peer, is_ours, name_of

FOLDER: Final = "web"  # in the folder of credentials
FILE: Final = "tokens.txt"

FEED: Final = "feed"  # reads feeds, and nothing else: such a token stands in URLs
VIEWER: Final = "viewer"  # reads everything
OPERATOR: Final = "operator"  # decides, retries and controls, too
ROLES: Final = (FEED, VIEWER, OPERATOR)  # each may do what those before it may

MAX_TOKEN: Final = 500  # characters; ours have 32
CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="lae-monitor"')  # with each of these
CHALLENGED: Final = ("needs_token", "bad_token")  # the codes of ours that are a 401
BASIC_CHALLENGE: Final = ("WWW-Authenticate", 'Basic realm="lae-monitor"')  # for browsers: the token is the password

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::[0-9]{1,5})?")

log = logging.getLogger(__name__)

# Names of headers by which proxies say for whom they ask, or that they are there; rather one too many, for it only takes a
# token then. Beside the usual ones, those of Envoy, ingresses of Kubernetes, IIS, App Engine, Azure, Cloudflare, CloudFront,
# Fastly, Fly.io, Netlify, Vercel, Tailscale, Akamai, WebLogic.
_FORWARDING: Final = re.compile(
    r"forwarded|via|cdn-loop|client-ip|x-scheme|x-varnish|x-amz-cf-id|x-amzn-trace-id|x-(real|remote|proxyuser)-(ip|addr|port)"
    r"|.+-(client|connecting)-?ip(v6)?|.+-client-connection-ip"
    r"|(x-forwarded|x-original-|x-envoy-|x-arr-|x-appengine-|x-azure-|x-vercel-|cf-|cloudfront-|fastly-|fly-|tailscale-).*"
)


class Access:
    """The accounts and tokens that are let in.

    Args:
        credentials: the folder of credentials; None where there are no tokens.
    """

    def __init__(self, credentials: Path | None = None) -> None:
        self._tokens = Passwords(tokens_in(credentials), if_missing=None) if credentials is not None else None
        self._problem = ""  # what was logged last

    def problems(self) -> Iterator[str]:
        """What is wrong with the file of tokens, a sentence each."""
        if self._tokens is None:
            return
        try:
            self._tokens.refresh()
        except CredentialsError as error:
            yield str(error)
        else:
            strange = [user for user in self._tokens.users if user not in ROLES]
            yield from (f"{self._tokens.path}: {user!r} is no role; {', '.join(ROLES)} are" for user in strange)

    async def require(self, role: str, scope: Mapping[str, Any], url_token: str = "") -> None:
        """Lets a request pass that may do what `role` may.

        Args:
            role: one of ROLES.
            scope: the request, as ASGI has it.
            url_token: a token that stood in the URL, where that is allowed.

        Raises:
            Refused: `needs_token`, `bad_token`, `role_too_low`, `credentials_unreadable`.
        """
        given = await self._role(scope, url_token)
        if ROLES.index(given) < ROLES.index(role):
            raise Refused("role_too_low", f"the token's role is {given}, and this takes {role}")

    async def allows(self, role: str, scope: Mapping[str, Any]) -> bool:
        """Whether `require` would let it pass."""
        try:
            await self.require(role, scope)
        except Refused:
            return False
        return True

    async def _role(self, scope: Mapping[str, Any], url_token: str) -> str:
        headers = Headers(scope["headers"])
        token = url_token or _token_in(headers)
        if token:
            return self._role_of_token(token)
        if proxied := proxy_header(headers):
            raise Refused("needs_token", f"a proxy handed this on: it has the header {proxied}")
        if not names_loopback(headers.all("host")):  # or a web site lets the account's own browser ask for it
            raise Refused("needs_token", "the address is none of loopback's: use 127.0.0.1, [::1] or localhost")
        peer: Peer | None = scope.get("state", {}).get(PEER_STATE)
        account = await peer.account() if peer is not None and is_here(scope) else None
        if account is None:
            raise Refused("needs_token", "the kernel does not say which account asks")
        if not is_ours(account):
            raise Refused("needs_token", f"the account that asks is {name_of(account)}")
        return OPERATOR

    def _role_of_token(self, token: str) -> str:
        if self._tokens is None or len(token) > MAX_TOKEN:
            raise Refused("bad_token")
        try:
            self._tokens.refresh()
        except CredentialsError as error:
            self._complain(str(error))
            raise Refused("credentials_unreadable") from error  # without the path: a stranger reads this
        secret = token.encode("utf-8", "surrogatepass")
        matching = [
            role for role in ROLES if self._tokens.lets_in(role, secret)
        ]  # all are tried: it takes as long for each
        if not matching:
            raise Refused("bad_token")
        return matching[-1]

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            log.error("tokens of pages and API: %s; until that is mended, no token is let in", problem)
        self._problem = problem


def tokens_in(credentials: Path) -> Path:
    """The file of tokens."""
    return credentials / FOLDER / FILE


def _token_in(headers: Headers) -> str:
    """The token that a request shows: Socorro's programs send Auth-Token; of Basic it is the password.

    Raises:
        Refused: `bad_token`, where there is one that can be none of ours.
    """
    if "auth-token" in headers:
        return _only(headers, "auth-token")
    if "authorization" not in headers:
        return ""
    scheme, _, token = _only(headers, "authorization").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if scheme.lower() == "basic":
        try:
            return parse_basic(f"{scheme} {token}")[1].decode()
        except (Refused, UnicodeDecodeError):
            raise Refused("bad_token") from None
    raise Refused("bad_token", "send it as Authorization: Bearer TOKEN")


def _only(headers: Headers, name: str) -> str:
    values = headers.all(name)
    if len(values) != 1 or not values[0]:
        raise Refused("bad_token", f"the header {name} has to be there once, with a token")
    return values[0]


def proxy_header(headers: Headers) -> str:
    """The name of a header that a proxy put there; "" when there is none."""
    names = (name.replace("_", "-") for name in headers.names)
    return next(filter(_FORWARDING.fullmatch, names), "")


def is_here(scope: Mapping[str, Any]) -> bool:
    """Whether the connection comes from this machine: over loopback, or over our Unix socket."""
    peer: Peer | None = scope.get("state", {}).get(PEER_STATE)
    client = scope.get("client")
    return is_loopback(client[0]) if client else peer is not None and peer.is_unix


def names_loopback(hosts: Sequence[str]) -> bool:
    """Whether a request's Host headers are one, and it names loopback.

    Another web site could point its own name at 127.0.0.1, and read us through a visitor's browser.
    """
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    name = (found[1] or found[2]) if found is not None else ""
    return name.lower() == "localhost" or is_loopback(name)


def is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback

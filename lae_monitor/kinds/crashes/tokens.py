"""Who may send reports of which product, and who may send reports that have an id already.

Tokens stand in `credentials/crashes/tokens.txt`, a line each, as salted hashes: `PRODUCT:sha256$...`. The product is
percent-encoded, as it may have spaces and colons; the user `*submitter*` is a system that hands on crashes with their ids.
Products are compared in the form that `program.clean` gives them, in which they are shown.
"""

import logging
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from lae_monitor.config import Settings
from lae_monitor.core import kind
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.kinds.crashes.program import MAX_LENGTH, clean
from lae_monitor.net.http import Request
from lae_monitor.net.passwords import CredentialsError, Passwords

FILE: Final = "tokens.txt"
SUBMITTER: Final = "*submitter*"
PARAMETERS: Final = ("token", "sentry_key")  # of the query, for clients that know nothing but a URL
MAX_TOKEN: Final = 500  # characters; ours have 32

log = logging.getLogger(__name__)


def file_in(settings: Settings) -> Path:
    """The file of tokens; there need not be one."""
    return settings.credentials / "crashes" / FILE


def user_of(product: str) -> str:
    """The product as it stands in the file."""
    return urllib.parse.quote(clean(product), safe="")


def product_of(user: str) -> str:
    """The reverse of `user_of`."""
    return clean(urllib.parse.unquote(user))


def bearer(request: Request) -> list[str]:
    """The token of `Authorization: Bearer`, if there is one: the only way for a submitter, as URLs end up in logs."""
    scheme, _, token = request.headers.get("authorization").partition(" ")
    return [token.strip()] if scheme.lower() == "bearer" and 0 < len(token.strip()) <= MAX_TOKEN else []


def offered(request: Request) -> list[str]:
    """The tokens that a request carries: as `Authorization: Bearer`, or in its query."""
    found = bearer(request)
    try:
        pairs = urllib.parse.parse_qsl(request.query_string, max_num_fields=20)
    except ValueError:
        pairs = []
    found += [value for key, value in pairs if key in PARAMETERS]
    return [token for token in found if 0 < len(token) <= MAX_TOKEN]


class Tokens:
    """The tokens of a running collector.

    Args:
        path: the file; a missing one holds no tokens.
        required: whether products without a token are refused.
    """

    def __init__(self, path: Path, *, required: bool = False, clock: Clock = wall_clock) -> None:
        self._passwords = Passwords(path, clock, if_missing=None)
        self._required = required
        self._read_once = False
        self.problem = ""  # a sentence as long as the file cannot be used, and older tokens are in force

    def refresh(self) -> None:
        """Reads the file if it has changed. If the file is unusable, the previous tokens
        stay in force; the error is logged once.

        Raises:
            Refused: `credentials_unreadable`, when it could never be read.
        """
        try:
            self._passwords.refresh()
        except CredentialsError as error:
            if not self._read_once:
                raise Refused("credentials_unreadable", str(error)) from error
            if str(error) != self.problem:
                log.error("tokens of crash clients: %s; those read before stay in force", error)  # noqa: TRY400 - it says all
            self.problem = str(error)
        else:
            self._read_once, self.problem = True, ""

    @property
    def any(self) -> bool:
        """Whether there is one, or one is needed."""
        return self._required or bool(self._passwords.users)

    def check(self, product: str, tokens: Iterable[str]) -> None:
        """Lets a report pass whose `program.product` is `product`.

        Raises:
            Refused: `unauthorized`, `credentials_unreadable`.
        """
        self.refresh()
        if not self.any:
            return
        users = [user for user in self._passwords.users if user != SUBMITTER and product_of(user) == product]
        if not users and not self._required:
            return
        if not self._is_one_of((*users, SUBMITTER), tokens):
            raise Refused("unauthorized", "a token of this product is needed", raw=product)

    def check_submitter(self, tokens: Iterable[str]) -> None:
        """Lets a report pass that has a crash id already.

        Raises:
            Refused: `unauthorized_uuid`, `credentials_unreadable`.
        """
        self.refresh()
        if not self._is_one_of((SUBMITTER,), tokens):
            raise Refused("unauthorized_uuid")

    def _is_one_of(self, users: Iterable[str], tokens: Iterable[str]) -> bool:
        return any(self._passwords.lets_in(user, token.encode()) for user in users for token in tokens)


class _Products(kind.Tokens):
    whose = "product"
    called = "token of"
    options = (
        kind.Option("--product", "the product whose reports need it from now on.", "PRODUCT"),
        kind.Option("--submitter", "for programs that hand on reports with an id."),
    )
    if_none = "crash reports need none"

    def file(self, settings: Settings) -> Path:
        return file_in(settings)

    def user(self, _settings: Settings, given: dict[str, Any]) -> str:
        product: str | None = given["product"]
        if given["submitter"] == (product is not None):
            raise ValueError("crashes: say for whom, with --product NAME or --submitter")
        if product is None:
            return SUBMITTER
        if not clean(product) or len(product.strip()) > MAX_LENGTH or not product.isprintable():
            raise ValueError(f"a product has 1 to {MAX_LENGTH} printable characters")
        return user_of(product)

    def shown(self, user: str) -> str:
        return "submitters" if user == SUBMITTER else product_of(user)

    def following(self, _user: str) -> str:
        return (
            "give it to the clients, as Authorization: Bearer TOKEN or as ?token=TOKEN at the end of the URL; reports "
            "without it are refused from now on, and no restart is needed here"
        )

    def left_without(self, settings: Settings, _user: str) -> str:
        if settings.gatherers["crashes"].require_token:
            return "has no token left: its reports are refused"
        return "has no token left: its reports are taken without one"


TOKENS: Final = _Products()

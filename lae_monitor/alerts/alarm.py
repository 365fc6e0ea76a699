"""What an alarm is."""

from typing import Final

import msgspec

from lae_monitor.config.settings import Rule
from lae_monitor.core.names import row_key
from lae_monitor.core.printable import one_line, printable
from lae_monitor.core.redaction import redact, redacted

MAX_TITLE: Final = 200  # characters
MAX_TEXT: Final = 2_000  # characters


class Condition(msgspec.Struct, kw_only=True, frozen=True):
    """Something that calls for a person. `about` tells it from others of its rule; `since`: when it began.

    `lasting` ones hold until they end; the others are news, told once.
    """

    rule: Rule
    about: str
    cluster: str
    host: str
    level: str
    title: str
    text: str
    since: float
    lasting: bool = True
    attrs: dict[str, str] = {}


class Alarm(msgspec.Struct, kw_only=True):
    """A condition that was raised. Times are seconds since the epoch; `ended` is None as long as it holds.

    `why_ended`: in words; "" for news, which end with being told.
    """

    id: str
    rule: str  # one of config.settings.Rule, or "test"
    about: str
    cluster: str
    host: str
    level: str
    title: str
    text: str
    since: float
    raised: float
    ended: float | None = None
    why_ended: str = ""
    attrs: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        """It held for a while, and does so no longer."""
        return self.ended is not None and bool(self.why_ended)

    @property
    def place(self) -> str:
        """Cluster and host, as people name them."""
        return f"{self.cluster}/{self.host}" if self.host else self.cluster


def raised(condition: Condition, now: float) -> Alarm:
    """The alarm that `condition` makes: with an id of its own, and fit to be shown to people."""
    key = row_key("alarm", condition.rule, condition.about, condition.since, now)
    return Alarm(
        id=key.hex()[:12],
        rule=condition.rule,
        about=condition.about,
        cluster=condition.cluster,
        host=condition.host,
        level=condition.level,
        title=one_line(redact(condition.title), MAX_TITLE),
        text=shorten_text(printable(redact(condition.text))),
        since=condition.since,
        raised=now,
        ended=None if condition.lasting else now,
        attrs={name: one_line(value, MAX_TITLE) for name, value in redacted(condition.attrs).items()},
    )


def shorten_text(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"

"""Why something was not accepted: an exception for each of core.reasons."""

from lae_monitor.core.reasons import REASONS
from lae_monitor.core.redaction import redact


class Refused(Exception):
    """Something was not accepted, for the reason that `code` names.

    Args:
        code: a key of REASONS.
        detail: what exactly, for people; it may hold what the sender sent, shortened, so it goes to logs and receipts,
            never unescaped to a page.
        raw: the offending value, quoted and shortened into `detail`; None for nothing to quote.
    """

    def __init__(self, code: str, detail: str = "", *, raw: object = None) -> None:
        self.reason = REASONS[code]
        self.detail = f"{detail} {shorten(raw)}".strip() if raw is not None else detail
        super().__init__(code, self.detail)

    @property
    def code(self) -> str:
        return self.reason.code

    @property
    def status(self) -> int:
        return self.reason.status

    def __str__(self) -> str:
        return f"{self.code}: {self.reason.text}" + (f" ({self.detail})" if self.detail else "")


def shorten(value: object, width: int = 80) -> str:
    """`value` as one printable line of at most about `width` characters, without secrets."""
    text = redact(ascii(value))
    return text if len(text) <= width else f"{text[: width - 20]}...{text[-10:]} [{len(text)}]"

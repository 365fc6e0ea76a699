"""A message by SMTP."""

import smtplib
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr

from lae_monitor.alerts import message as words
from lae_monitor.alerts.ledger import Message
from lae_monitor.config.settings import Mail
from lae_monitor.core.printable import one_line
from lae_monitor.core.secrets import Secret


class NotDelivered(Exception):
    """Somebody did not get it. `had`: those addresses that have it all the same."""

    def __init__(self, why: str, had: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.had = list(had)


def composed(monitor: str, mail: Mail, message: Message, pages_url: str) -> EmailMessage:
    """The mail; the same bytes each time that it is tried, so that who gets it twice can tell by its Message-ID."""
    found = EmailMessage()
    found["Subject"] = one_line(words.title(monitor, message.alarms))
    found["From"] = mail.sender or formataddr(("lae-monitor", f"lae-monitor@{socket.getfqdn()}"))
    found["To"] = ", ".join(mail.to)
    found["Date"] = format_datetime(datetime.fromtimestamp(message.made, UTC))
    found["Message-ID"] = f"<{message.id}@{monitor}.lae-monitor>"
    found["Auto-Submitted"] = "auto-generated"
    found["X-Lae-Monitor-Rules"] = ", ".join(sorted({alarm.rule for alarm in message.alarms}))
    found.set_content(words.text(monitor, message, pages_url))
    return found


def send(mail: Mail, content: EmailMessage, password: Secret | None, to: Sequence[str]) -> None:
    """Hands the mail to the server, for `to`. Blocking; each wait for the server ends within the destination's timeout.

    Raises:
        NotDelivered: not to all of them.
    """
    host, _, port = mail.server.rpartition(":")
    secured = ssl.create_default_context() if mail.security != "none" else None
    try:
        with _connected(mail, host.strip("[]"), int(port), secured) as server:
            if mail.security == "starttls":
                server.starttls(context=secured)
            if password is not None:
                server.login(mail.user, password.reveal())
            refused = server.send_message(content, to_addrs=list(to))
    except smtplib.SMTPRecipientsRefused as error:
        raise NotDelivered(_refusals(error.recipients)) from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise NotDelivered(f"{mail.server}: {_why(error)}") from error
    if refused:
        raise NotDelivered(_refusals(refused), [address for address in to if address not in refused])


def _connected(mail: Mail, host: str, port: int, secured: ssl.SSLContext | None) -> smtplib.SMTP:
    if mail.security == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=mail.timeout, context=secured)
    return smtplib.SMTP(host, port, timeout=mail.timeout)


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address}: {code} {text.decode('utf-8', 'replace')}" for address, (code, text) in refused.items()
    )


def _why(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode('utf-8', 'replace') if isinstance(said, bytes) else said}"
    return str(error) or type(error).__name__

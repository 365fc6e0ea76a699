"""[alerts]: when an alarm is raised, and who is told by which way. Their passwords and tokens are in files of their own."""

from typing import Annotated, Literal

from lae_monitor.config.section import Section, key
from lae_monitor.config.values import Duration
from lae_monitor.core.time import HOUR

Rule = Literal["host silent", "gatherer down", "new group", "group regressed", "retention stopped"]


class Destination(Section, frozen=True, tag_field="type"):
    """What every destination can be told."""

    name: Annotated[
        str, key("what lists, metrics and the file with its secret call it; default: its type", example="on-call")
    ] = ""
    rules: Annotated[list[Rule], key("it is told of these alarms only; empty: of all")] = []  # noqa: RUF012
    clusters: Annotated[list[str], key("it is told of hosts of these clusters only; empty: of all")] = []  # noqa: RUF012
    timeout: Annotated[Duration, key("longest wait for all of one delivery")] = Duration(30)

    @property
    def kind(self) -> str:
        """Its type, as the configuration has it."""
        return str(type(self).__struct_config__.tag)

    @property
    def title(self) -> str:
        """What lists call it, and its secret's file."""
        return self.name or self.kind


class Mail(Destination, frozen=True, kw_only=True, tag="mail"):
    """A message by SMTP. With a user, the password is in credentials/alerts/NAME."""

    to: Annotated[list[str], key("addresses that it goes to", example=["ops@example.org"])]
    sender: Annotated[
        str, key("the address that it comes from; empty: lae-monitor@ and the name of this host", example="mon@lae.org")
    ] = ""
    server: Annotated[str, key("the mail server, HOST:PORT")] = "localhost:25"
    security: Annotated[
        Literal["none", "starttls", "tls"],
        key("how the way to the server is encrypted; with a user or to another host, better not none"),
    ] = "none"
    user: Annotated[str, key("the account at the server; empty: none")] = ""


class Webhook(Destination, frozen=True, kw_only=True, tag="webhook"):
    """A POST of JSON. What credentials/alerts/NAME holds is sent as bearer token."""

    url: Annotated[
        str,
        key("where it is POSTed; empty: the address in credentials/alerts/NAME.url, where nobody else may see it"),
    ] = ""


AnyDestination = Mail | Webhook


class Alerts(Section, frozen=True):
    """Alarms: when they are raised, and who is told."""

    silent_after: Annotated[
        Duration,
        key("an expected host that was not heard for so long is silent; nodes may take an hour to connect again"),
    ] = Duration(2 * HOUR)
    expected: Annotated[
        list[str],
        key(
            "hosts that are expected beside those with a FURL and those that send samples: HOST or CLUSTER/HOST",
            example=["node7", "hpc/ml6"],
        ),
    ] = []  # noqa: RUF012
    unexpected: Annotated[
        list[str], key("hosts whose silence is no alarm: HOST or CLUSTER/HOST, with * and ?", example=["laptop-*"])
    ] = []  # noqa: RUF012
    group_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical", "never"],
        key("a new group, or one that was closed and happens again, is an alarm from this level on"),
    ] = "warning"
    pages_url: Annotated[
        str, key("how people reach the pages, for links in messages; empty: none", example="https://monitor.example")
    ] = ""
    destinations: Annotated[
        list[AnyDestination],
        key(
            "each gets every message, and each is kept account of by itself",
            example=[{"type": "mail", "to": ["ops@example.org"]}],
        ),
    ] = []  # noqa: RUF012

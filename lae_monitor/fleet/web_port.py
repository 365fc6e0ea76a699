"""Asks a node's web port as its host sees it, which is on loopback: through the SSH connection, or by the host's curl."""

import http.client
import shlex
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from lae_monitor.core.limits import KiB
from lae_monitor.fleet.remote import Remote
from lae_monitor.fleet.trouble import Trouble

MAX_ANSWER: Final = 64 * KiB
_FORM: Final = "application/x-www-form-urlencoded"
_NO_TUNNELS: Final = 1  # why a channel is refused, in SSH: by the administrator


class Said(NamedTuple):
    """What was answered, and how it was asked."""

    status: int
    text: str
    way: str


def post(remote: Remote, url: str, fields: dict[str, str]) -> Said:
    """Sends a form.

    Args:
        url: of http, such as `http://127.0.0.1:3456/report_incident`.

    Raises:
        Trouble: `unreachable` when nothing listens there, `failed` when what answers does not speak HTTP.
    """
    import paramiko  # noqa: PLC0415 - takes a third of a second

    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise Trouble("failed", f"{url!r} is no address that begins with http://", "give another --url")
    body = urlencode(fields).encode()
    try:
        channel = remote.tunnel(parts.hostname, parts.port or 80)
    except paramiko.ChannelException as error:
        if error.code == _NO_TUNNELS:
            return _with_curl(remote, url, body)
        raise Trouble(
            "unreachable", f"nothing listens at {parts.netloc} of the host", "see whether the node runs"
        ) from error
    except (paramiko.SSHException, OSError) as error:
        raise Trouble("unreachable", f"{parts.netloc} of the host: {error}", "try again") from error
    try:
        connection = _Through(channel)
        connection.request("POST", parts.path or "/", body, {"Content-Type": _FORM, "Host": parts.netloc})
        answer = connection.getresponse()
        return Said(answer.status, answer.read(MAX_ANSWER).decode("utf-8", "replace"), "through SSH")
    except TimeoutError as error:
        raise Trouble("timeout", f"{parts.netloc} does not answer", "see what the node is busy with") from error
    except (http.client.HTTPException, OSError) as error:
        why = f"what answers at {parts.netloc} does not speak HTTP: {error!r}"
        raise Trouble("failed", why, "give the --url of the node") from error
    finally:
        channel.close()


class _Through(http.client.HTTPConnection):
    """HTTP over a channel that is open already."""

    def __init__(self, channel: Any) -> None:
        super().__init__("")
        self.sock = channel


def _with_curl(remote: Remote, url: str, body: bytes) -> Said:
    """What is sent goes by standard input: arguments can be read by others."""
    ran = remote.run(
        f"curl -sS --max-time 30 -w '\\n%{{http_code}}' --data-binary @- -H 'Content-Type: {_FORM}' -- {shlex.quote(url)}",
        body,
    )
    text, _, status = ran.output.rpartition("\n")
    if ran.status or not status.isdecimal():
        why = f"its sshd allows no tunnels, and curl on the host says: {ran.output.strip()[-300:]}"
        raise Trouble("unreachable", why, "see whether the node runs, and whether curl is there")
    return Said(int(status), text, "with the host's curl, for its sshd allows no tunnels")

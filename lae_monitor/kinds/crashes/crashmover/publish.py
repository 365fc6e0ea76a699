"""Tells the id of a saved crash to whoever processes it: bare, as the body of a message. Blocking."""

import threading
from typing import Any, Final

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.crashes.crashmover.destination import Unavailable
from lae_monitor.kinds.crashes.crashmover.objects import client, telling
from lae_monitor.kinds.crashes.crashmover.posting import check_url, post

SQS: Final = "sqs://"
TIMEOUT: Final = 5.0  # seconds, as Antenna's


def check_target(target: str) -> str:
    """`target` when an id can be published to it.

    Raises:
        ValueError
    """
    if target.startswith(SQS):
        if not target.removeprefix(SQS).strip("/"):
            raise ValueError(f"{target!r} names no queue")
        return target
    return check_url(target)


class Publisher:
    """Publishes to `sqs://QUEUE` (credentials and region as boto3 finds them) or to an HTTP(S) address."""

    def __init__(self) -> None:
        self._sqs: Any = None
        self._queues: dict[str, str] = {}
        self._making = threading.Lock()

    def publish(self, target: str, crash_id: CrashId) -> None:
        """Returns when the queue, or whoever answers there, has the id. It may get one twice, after a kill.

        Raises:
            Unavailable
        """
        if target.startswith(SQS):
            with telling():
                self._client().send_message(QueueUrl=self._queue(target.removeprefix(SQS)), MessageBody=str(crash_id))
            return
        reply = post(target, {"Content-Type": "text/plain"}, crash_id.encode(), TIMEOUT)
        if not 200 <= reply.status < 300:
            said = shorten(reply.text.strip(), 200)
            raise Unavailable(f"{target}: status {reply.status}: {said}", reply.retry_after)

    def _client(self) -> Any:
        with self._making:
            if self._sqs is None:
                self._sqs = client("sqs", "", "")
            return self._sqs

    def _queue(self, name: str) -> str:
        """The queue's URL; it is asked for once."""
        if name not in self._queues:
            self._queues[name] = str(self._client().get_queue_url(QueueName=name)["QueueUrl"])
        return self._queues[name]

    def close(self) -> None:
        if self._sqs is not None:
            self._sqs.close()

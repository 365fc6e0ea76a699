"""Brings messages to their destinations. One lane each: who hangs, or is away for days, delays no other."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lae_monitor.alerts import mail, secret, webhook
from lae_monitor.alerts.ledger import Delivery, Ledger, Message
from lae_monitor.alerts.mail import NotDelivered
from lae_monitor.alerts.metrics import DELIVERED, FAILED, GIVEN_UP
from lae_monitor.config import Settings
from lae_monitor.config.settings import AnyDestination, Mail
from lae_monitor.core.printable import one_line
from lae_monitor.core.secrets import redact
from lae_monitor.core.time import DAY, MINUTE, Clock, format_duration, wall_clock
from lae_monitor.store.sqlite import delay

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 5.0  # seconds until the second try; it doubles with each further one
LONGEST_WAIT: Final = 10 * MINUTE
GIVE_UP_AFTER: Final = 7 * DAY  # what nobody could be told for so long is no news


class Lane:
    """The way to one destination.

    Args:
        given_up: is told of a message that did not get there within GIVE_UP_AFTER.
    """

    def __init__(
        self,
        settings: Settings,
        destination: AnyDestination,
        ledger: Ledger,
        given_up: Callable[[Delivery], None],
        clock: Clock = wall_clock,
    ) -> None:
        self.destination = destination
        self.new = asyncio.Event()  # there may be something to send
        self._settings = settings
        self._ledger = ledger
        self._given_up = given_up
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Sends what is due, until `stop`."""
        while not stop.is_set():
            self.new.clear()
            wait = LONGEST_WAIT
            try:
                delivery = self._ledger.next_delivery(self.destination.title)
                if delivery is not None:
                    wait = delivery.next_try - self._clock()
                    if wait <= 0:
                        await self._try(delivery)
                        continue
            except Exception:
                log.exception("alarms for %s", self.destination.title)
                wait = FIRST_WAIT
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, LONGEST_WAIT)):
                    await self.new.wait()

    async def _try(self, delivery: Delivery) -> None:
        name = self.destination.title
        had = delivery.had
        try:
            await deliver(self._settings, self.destination, self._ledger.message(delivery.message), had)
        except NotDelivered as error:
            self._failed(delivery._replace(had=[*dict.fromkeys([*had, *error.had])]), str(error))
        except Exception as error:
            log.exception("message %s for %s", delivery.message, name)
            self._failed(delivery, f"{type(error).__name__}: {error}")
        else:
            DELIVERED.labels(name).inc()
            log.info("%s got message %s", name, delivery.message)
            self._ledger.tried(delivery._replace(state="done", ended=self._clock(), error=""))

    def _failed(self, delivery: Delivery, why: str) -> None:
        """It is tried again later, or given up."""
        name, now = self.destination.title, self._clock()
        FAILED.labels(name).inc()
        failed = delivery._replace(error=one_line(redact(why)))
        if now - delivery.made >= GIVE_UP_AFTER:
            log.error("%s did not get message %s for a week, and will not: %s", name, failed.message, failed.error)
            GIVEN_UP.labels(name).inc()
            with self._ledger.transaction():
                self._ledger.tried(failed._replace(state="given up", ended=now))
                self._given_up(failed)
            return
        wait = delay(delivery.attempts + 1, FIRST_WAIT, LONGEST_WAIT)
        log.warning(
            "%s did not get message %s; again in %s: %s", name, failed.message, format_duration(wait), failed.error
        )
        self._ledger.tried(failed._replace(next_try=now + wait))


async def deliver(settings: Settings, destination: AnyDestination, message: Message, had: list[str]) -> None:
    """One try.

    Args:
        had: addresses of a mail that have it already.

    Raises:
        NotDelivered
    """
    monitor, pages_url = str(settings.fleet.name), settings.alerts.pages_url
    at = secret.path_of(settings, destination.title)
    try:
        if isinstance(destination, Mail):
            password = secret.need(at) if destination.user else None
        else:
            token = secret.find(at)
            url = destination.url or secret.need(at.with_name(at.name + secret.URL)).reveal()
    except secret.NoSecret as error:
        raise NotDelivered(str(error)) from error
    if not isinstance(destination, Mail):
        await webhook.send(url, token, monitor, message, pages_url, destination.timeout)
        return
    content = mail.composed(monitor, destination, message, pages_url)
    to = [address for address in destination.to if address not in had]
    if to:
        await _in_thread(lambda: mail.send(destination, content, password, to), destination.timeout)


async def _in_thread(job: Callable[[], None], within: float) -> None:
    """Runs what blocks in a thread that nobody waits for at the end: a server that drips bytes cannot keep us alive.

    Raises:
        NotDelivered: or whatever `job` raises.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - handed on
            found: Exception | None = error
        else:
            found = None
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=run, name="alarm by mail", daemon=True).start()
    try:
        async with asyncio.timeout(within):
            await ended
    except TimeoutError as error:
        raise NotDelivered(f"the mail server took longer than {within:g} s") from error

"""What every destination has to do, and how it says that it could not."""

from typing import Protocol

from lae_monitor.kinds.crashes.crashmover.crash import Crash


class Unavailable(Exception):
    """It did not take the crash now; later it may. Nothing of ours is lost by trying again.

    `wait`: seconds that it asked for, or None.
    """

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class Never(Exception):
    """It will not take this crash, however often it is tried: it has another of that id, or refuses what is in it."""


class Saver(Protocol):
    """A destination. `save()` is called in threads, several at a time."""

    def save(self, crash: Crash) -> str:
        """Returns when the destination has the crash, durable and compared; again for one that it has, and then it changes
        nothing. Returns where it is: a path, a key, an id.

        Raises:
            Unavailable, Never
        """
        ...

    def close(self) -> None: ...


class WithFallback:
    """Tries `first`, and `second` when that did not take the crash."""

    def __init__(self, first: Saver, second: Saver) -> None:
        self._first = first
        self._second = second

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable: neither took it.
            Never: neither ever will.
        """
        try:
            return self._first.save(crash)
        except (Unavailable, Never) as error:
            first = error
        try:
            return f"fallback: {self._second.save(crash)}"
        except (Unavailable, Never) as second:
            text = f"{first}; fallback: {second}"
            if isinstance(first, Never) and isinstance(second, Never):
                raise Never(text) from second
            raise Unavailable(text) from second

    def close(self) -> None:
        self._first.close()
        self._second.close()


class Redacting:
    """Hands crashes on to `inner` without the annotations `keys`."""

    def __init__(self, inner: Saver, keys: list[str]) -> None:
        self._inner = inner
        self._keys = keys

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        return self._inner.save(crash.redacted(self._keys))

    def close(self) -> None:
        self._inner.close()


# The destination that takes everything and keeps nothing.
class Void:
    """To measure the rest with, or to try what would go where."""

    def save(self, crash: Crash) -> str:
        """Takes it."""
        return f"nowhere, {crash.checksum}"

    def close(self) -> None:
        pass

"""The destination that takes everything and keeps nothing."""

from lae_monitor.kinds.crashes.crashmover.crash import Crash


class Void:
    """To measure the rest with, or to try what would go where."""

    def save(self, crash: Crash) -> str:
        """Takes it."""
        return f"nowhere, {crash.checksum}"

    def close(self) -> None:
        pass

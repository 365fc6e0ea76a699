"""The only code that makes anything durable: `Archive.store()` and the like return after fsync of file and folder."""

from lae_monitor.archive.archive import Archive
from lae_monitor.archive.files import ArchiveError, Exists, Failed, Full
from lae_monitor.archive.journal import Journal
from lae_monitor.core.limits import Reserve

__all__ = ["Archive", "ArchiveError", "Exists", "Failed", "Full", "Journal", "Reserve"]

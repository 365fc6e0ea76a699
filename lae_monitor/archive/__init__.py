"""The only code that makes anything durable: `Archive.store()` and the like return after fsync of file and folder.

archive        stores, appends and reads, on the first root that works
upload         a large file that comes in pieces
group_commit   many writers of a growing file, one fdatasync
growing        which growing file takes what belongs to a path
journal        all that is no report: receipts, marks, decisions, alarms
hints          datagrams to the mover: a file has something new
homecoming     brings files from a fallback root to the first root
root           one root: its health, and its workers: threads that may hang
files          jobs on files that block
folders        durable folders, and those for temporary files
kernel         the system calls; tests replace them
identity       the file `.lae-monitor`; installation: which roots, state folder and store belong together
small_files    small files that are replaced whole; locks
outside        durable files in trees of other systems
"""

from lae_monitor.archive.archive import Archive
from lae_monitor.archive.files import ArchiveError, Exists, Failed, Full
from lae_monitor.archive.journal import Journal
from lae_monitor.core.limits import Reserve

__all__ = ["Archive", "ArchiveError", "Exists", "Failed", "Full", "Journal", "Reserve"]

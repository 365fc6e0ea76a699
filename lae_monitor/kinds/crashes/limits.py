"""What one crash report may cost. The sizes of the body are settings; see config.py."""

from typing import Final

from lae_monitor.core.limits import KiB, MiB

MAX_PREAMBLE: Final = 64 * KiB  # bytes before the first boundary; some mail programs write a sentence there
MAX_PARTS: Final = 2000  # parts of a report; real clients send 3 to 200
MAX_FILES: Final = 100  # file parts; real clients send 1 to 5
MAX_PART_HEADER: Final = 4 * KiB  # bytes of one header line of a part
MAX_PART_HEADERS: Final = 8  # lines; the standard knows three
MAX_KEPT_HEADS: Final = 2000  # heads of parts that are remembered: real clients have some hundred names
MAX_KEPT_HEAD: Final = 200  # characters of such a head; a longer one is read anew each time
MAX_ANNOTATION: Final = 2 * MiB  # bytes of one annotation; Firefox's StackTraces come to some 100 KiB
MAX_ANNOTATIONS: Final = 4 * MiB  # bytes of all annotations of a report: they stay in memory
MAX_JSON_ITEMS: Final = 50_000  # commas and brackets in JSON; each may become an object of 100 bytes
MAX_JSON_DEPTH: Final = 50  # levels; deeper ones exist only to exhaust a parser's stack
MAX_BOUNDARY: Final = 200  # bytes; the standard says 70
MAX_DUMP_NAME: Final = 100  # characters
MAX_FILENAME: Final = 255  # characters of the sender's own name of a file, kept for people
MAX_PROJECT: Final = 100  # characters of a project in the address
MAX_COMPARED: Final = 64 * MiB  # bytes of a stored crash that is read to compare it with one that comes again
MAX_NOTES: Final = 50  # notes kept with a report
MAX_MEMBERS: Final = 1000  # gzip members of one body; each costs 40 KiB for a moment
MAX_RATIO: Final = 300  # inflated to compressed bytes; dumps reach 20, zeros 1,000
FREE_OF_RATIO: Final = 16 * MiB  # inflated bytes below which the ratio does not matter

INFLATE_STEP: Final = 64 * KiB  # bytes inflated at a time
HOLD: Final = 1 * MiB  # bytes of a report kept in memory; a larger one goes to a temporary file as it comes
BATCH: Final = 256 * KiB  # bytes handed to that file at a time
RESERVE_STEP: Final = 4 * KiB  # bytes of annotations that a report may hold before they count
MAX_HELD: Final = 12 * MiB  # bytes held for all reports in progress together; the process is to stay below 80 MB
MAX_HELD_PEER: Final = 6 * MiB  # bytes of it for one peer: no single one can make the others wait
YIELD_AFTER: Final = 1 * MiB  # inflated bytes after which others get their turn

RECEIPTS_GATHER: Final = 0.05  # seconds for which receipts wait for others; each sync slows the storing of reports

"""The kinds of what can go wrong on a fleet, a room each with the same files:

    __init__   what it is, from whom, what it replaces; its Kind record and a map of its rooms
    config     `Settings`, its section of the configuration
    gather     `async gather(context)`: accepts and stores what comes, as it comes
    read       pure: bytes of the archive -> rows (core.rows.Reader)
    show       a report taken apart for people
    check      what `lae-monitor check config` asks of it
    reasons    its reason codes
    rows       rows of its own, if it has any; tables: their tables in the store

One of each for all kinds: `context` is what a gatherer is given, `receipts` writes to the journal what was accepted and
refused, `pace` limits rates and memory, `rule_files` reads rules in TOML.

A new kind is one folder and one line here.
"""

from typing import Final

from lae_monitor.core.kind import Kinds
from lae_monitor.kinds.crashes import CRASHES
from lae_monitor.kinds.incidents import INCIDENTS
from lae_monitor.kinds.sonar import SONAR

KINDS: Final = Kinds((CRASHES, INCIDENTS, SONAR))

"""`lae-monitor` with one kind more."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from beacons import BEACONS

from lae_monitor.cli import main
from lae_monitor.core.kind import Kinds
from lae_monitor.kinds import KINDS

main(Kinds((*KINDS, BEACONS)))

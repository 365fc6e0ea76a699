"""`python -m lae_monitor` is `lae-monitor`."""

from lae_monitor.cli import main

main()

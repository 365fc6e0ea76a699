"""`lae-monitor --help` answers at once: what takes time to load is loaded by the commands that need it."""

import subprocess
import sys


def test_help_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lae_monitor", "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    heavy = {"asyncio", "msgspec", "uvloop", "lae_monitor.archive", "lae_monitor.config", "chdb", "twisted", "ssl"}
    assert "click" in loaded
    assert not heavy & loaded

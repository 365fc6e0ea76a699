"""The gatherer's process holds what it needs, and nothing of the store or the pages."""

import json
import subprocess
import sys

PROGRAM = """
import json, pathlib, re, sys
import lae_monitor.kinds.sonar.gather
heavy = [name for name in ("pyarrow", "chdb", "jinja2", "starlette", "twisted", "foolscap") if name in sys.modules]
print(json.dumps([heavy, int(re.search(r"VmHWM:\\s*([0-9]+) kB", pathlib.Path("/proc/self/status").read_text())[1])]))
"""


def test_no_large_library_is_loaded():
    out = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, timeout=120).stdout
    heavy, kib = json.loads(out)
    assert heavy == []
    assert kib < 60 * 1024  # leaves 20 MiB of the 80 for posts in progress

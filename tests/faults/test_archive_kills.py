"""kill -9 at random moments, again and again: nothing that was acknowledged is lost, and no file is half there.

LAE_KILLS_ARCHIVE sets how often. Two processes share each archive, and append to the same files.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("LAE_KILLS_ARCHIVE", "100"))
DRIVERS = 4
DRIVER = Path(__file__).parent / "archive_kill_driver.py"


@pytest.mark.kills
@pytest.mark.timeout(300 + KILLS)
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    begun = time.monotonic()
    drivers = [
        subprocess.Popen(
            [
                sys.executable,
                str(DRIVER),
                str(tmp_path / f"archive-{number // 2}"),
                f"gather-{number}",
                str(-(-KILLS // DRIVERS)),
                str(seed + number),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]) + os.pathsep + os.environ.get("PYTHONPATH", ""),
            },
        )
        for number in range(DRIVERS)
    ]
    reports = []
    try:
        for driver in drivers:
            out, errors = driver.communicate(timeout=300 + KILLS)
            assert driver.returncode == 0, errors
            reports.append(json.loads(out))
    finally:
        for driver in drivers:
            driver.kill()
            driver.wait()
    print(f"{time.monotonic() - begun:.1f} s", reports)
    assert sum(report["lives"] for report in reports) >= KILLS
    assert [report["lost"] for report in reports] == [[]] * DRIVERS
    assert [report["torn"] for report in reports] == [[]] * DRIVERS
    assert sum(report["fruitful"] for report in reports) > KILLS / 3, "most were killed before they had done anything"

"""For all tests: how long hypothesis looks, and that nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=200_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).parents[1]
LAB = Path(__file__).parent / "lab"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With several workers (-n): the tests of a file run in one of them, those of the lab all in the same, and first.

    The lab's take longest, and share one lab. pytest-xdist's `--dist loadgroup` keeps what is marked alike together.
    """
    items.sort(key=lambda item: LAB not in item.path.parents)  # a stable sort: else in their order
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(
                pytest.mark.xdist_group("lab" if LAB in item.path.parents else str(item.path.relative_to(LAB.parent)))
            )


CRASH = ROOT / "tests" / "gatherers" / "crashes" / "crash_with_crashpad.py"


@pytest.fixture(scope="session")
def crashpad_handler() -> Path:
    """Chromium's own crash handler, out of Debian's package: tests/crashpad.sh fetches it when the tests are set up."""
    handler = ROOT / ".cache/chromium-common/x/usr/lib/chromium/chrome_crashpad_handler"
    if not handler.exists():
        fetched = subprocess.run(["sh", ROOT / "tests/crashpad.sh"], capture_output=True, text=True, check=False)
        if not handler.exists():
            pytest.skip(f"the real Crashpad client is not here: {fetched.stdout} {fetched.stderr}")
    probe = subprocess.run([handler, "--version"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"the real Crashpad client does not run here: {probe.stderr}")
    return handler


@pytest.fixture
def crash_with_crashpad(crashpad_handler, tmp_path):
    """Crashes a process under Crashpad and uploads its dump; returns the finished report's .dmp and .meta."""

    def crash(url: str, *options: str) -> tuple[bytes, bytes]:
        database = tmp_path / f"database{len(list(tmp_path.glob('database*')))}"
        subprocess.run([sys.executable, CRASH, crashpad_handler, database, url, *options], check=True, timeout=120)
        (dump,) = (database / "completed").glob("*.dmp")
        return dump.read_bytes(), dump.with_suffix(".meta").read_bytes()

    return crash

"""For all tests: how long hypothesis looks, and that nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

sys.path.append(str(Path(__file__).parent))

from previous_release import NotHere, installed, previous

# How many examples: a test says it itself only where 100 are too many.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("full", settings.get_profile("default"), max_examples=1_000)  # make test-all, make soak
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=200_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# Folders whose files take longest, the longest first: so no worker is left with a long one at the end.
LONG_FIRST = (
    "lab",
    "faults",
    "docs",
    "deploy",
    "system",
    "alerts",
    "fleet",
    "service",
    "cli",
    "node",
    "kinds",
    "test_house.py",
    "fuzz",
    "archive",
    "net",
    "mover",
)


class ByFile(LoadFileScheduling):
    """With several workers (-n): the tests of a file run in one of them, those of the lab all in the same: they share it."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/lab" if file.startswith("tests/lab/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(config, items):
    """Long files come first (with --no-loadscope-reorder). Long tests run when asked for.

    Without -m, `full` tests run only if their file or folder is named; `soak` tests do not run.
    """
    rank = {folder: number for number, folder in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(TESTS).parts[0], len(rank)))  # else in their order
    if config.option.markexpr:
        return
    named = {(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args}
    long = [
        item
        for item in items
        if item.get_closest_marker("soak")
        or (item.get_closest_marker("full") and not named & {item.path, item.path.parent})
    ]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


UMASK = os.umask(0o022)
os.umask(UMASK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """A command that ran in our process left its umask: each test begins with that of the whole run."""
    os.umask(UMASK)
    return (yield)


CRASH = ROOT / "tests" / "kinds" / "crashes" / "crash_with_crashpad.py"


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


@pytest.fixture(scope="session")
def previous_release():
    """The release before this issue, as a host has it installed: `.program` is its lae-monitor."""
    try:
        return previous()
    except NotHere as error:
        pytest.skip(f"NOT TESTED: going back to the release before. {error}")


@pytest.fixture(scope="session")
def this_release(tmp_path_factory):
    """This tree, built and installed in the same way."""
    return installed(ROOT, tmp_path_factory.mktemp("release") / "this")

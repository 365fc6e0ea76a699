"""Whether one of our processes runs on a state folder: by the lock that it holds there."""

from pathlib import Path

from lae_monitor.archive.small_files import is_held


def runs(state: Path, process: str) -> bool:
    """Whether `process` holds its lock."""
    try:
        return is_held(state / f"{process}.lock")
    except OSError:
        return False

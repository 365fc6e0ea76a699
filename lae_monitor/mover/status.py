"""What the mover tells of itself: to metrics, to `store status`, to the pages."""

from dataclasses import dataclass


@dataclass
class Status:
    """What the mover has done since it started, and what it has before it."""

    batches: int = 0
    rows: int = 0
    failures: int = 0
    waiting: int = 0  # files known to hold more than was moved
    oldest: float = 0.0  # seconds the oldest of them has been waiting
    caught_up: bool = False  # a full sweep found nothing more
    error: str = ""
    last: float = 0.0  # when the last batch was confirmed
    checked: float = 0.0  # when the store was last compared with the archive
    read_again: int = 0  # files of which the store had lost rows, since the start
    broken_parts: int = 0  # parts of the store that could not be read, since the start

"""archive -> read -> store, exactly once.

The span that is about to be moved is written down before the insert; after a crash exactly that span is repeated, with the
same token, and the store drops what it has already had.
"""

from lae_monitor.mover.mover import Mover

__all__ = ["Mover"]

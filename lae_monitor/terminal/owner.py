"""Acts in the state folder as the account that it belongs to: an operator's `sudo` must not lock the services out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Root acts as the owner of `folder`, when it exists; everybody else acts as himself."""
    if os.geteuid() != 0 or not folder.exists():
        yield
        return
    status = folder.stat()
    own_group = os.getegid()
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_group)


@contextmanager
def as_caller() -> Iterator[None]:
    """Within `as_owner`: root is root again, for files that the operator wants where he is."""
    user, group = os.geteuid(), os.getegid()
    if os.getuid() != 0 or user == 0:
        yield
        return
    os.seteuid(0)
    os.setegid(os.getgid())
    try:
        yield
    finally:
        os.setegid(group)
        os.seteuid(user)

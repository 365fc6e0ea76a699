"""What the configuration needs of this host: folders to write to, space, free ports, a sane clock, closed credentials.

Everything is tried, not guessed, and nothing is left behind: a folder that had to be made for the trial is removed again.
"""

import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from lae_monitor.archive import ArchiveError
from lae_monitor.archive.installation import installation
from lae_monitor.archive.kernel import Kernel
from lae_monitor.config import Settings
from lae_monitor.config.meaning import Address, addresses
from lae_monitor.core.limits import format_size
from lae_monitor.core.time import Clock, format_time, wall_clock
from lae_monitor.fleet.running import runs
from lae_monitor.net.http import Access

Level = Literal["ok", "warning", "problem"]

SLOW_DISK: Final = 50.0  # fsyncs a second; below, eight writers store fewer than 50 reports a second
TRIAL: Final = 0.5  # seconds of writing and syncing for the measurement
HANG_AFTER: Final = 10.0  # seconds; a root that needs longer for the trial hangs
FIRST_YEAR: Final = 1704067200.0  # 2024-01-01: an earlier clock was never set
CLOCK_SLACK: Final = 60.0  # seconds by which a file may be newer than now, on a network mount


class Finding(NamedTuple):
    """The result of one check. `about`: the key or the file that it is about."""

    level: Level
    about: str
    text: str


def look(settings: Settings, parts: Sequence[str] = (), clock: Clock = wall_clock) -> Iterator[Finding]:
    """All checks of the surroundings, in the order in which their failures hinder.

    Args:
        settings: what was configured.
        parts: `serve` and kinds: only their addresses are tried; all when there are none.
        clock: seconds since 1970.
    """
    yield from check_clock(settings.state.path, clock())
    yield from check_state(settings.state.path)
    for root in settings.archive_roots:
        yield _root_that_may_hang(settings, root)
    yield from check_store(settings)
    yield from check_credentials(settings.credentials)
    yield from (Finding("problem", "credentials", problem) for problem in Access(settings.credentials).problems())
    for address in addresses(settings):
        if not parts or address.process.removeprefix("gather-") in parts:
            yield check_address(address, settings.state.path)


# ---- clock ---------------------------------------------------------------------------------------------------------


def check_clock(state: Path, now: float) -> Iterator[Finding]:
    """The time of day: every report is filed under it."""
    newest, name = max(_times(state), default=(0.0, ""))
    if now < FIRST_YEAR:
        yield Finding("problem", "clock", f"it says {format_time(now, digits=0)}; set it, and keep it set by NTP")
    elif newest > now + CLOCK_SLACK:
        yield Finding(
            "problem",
            "clock",
            f"it says {format_time(now, digits=0)}, and {name} was written at {format_time(newest, digits=0)}: "
            "it went back; set it, and keep it set by NTP",
        )
    else:
        yield Finding("ok", "clock", format_time(now, digits=0))


def _times(folder: Path) -> Iterator[tuple[float, str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                yield entry.stat(follow_symlinks=False).st_mtime, entry.path


# ---- folders -------------------------------------------------------------------------------------------------------


def check_state(state: Path) -> Iterator[Finding]:
    """The state folder: there, or to be made; ours; closed to others."""
    about = "state.path"
    try:
        status = state.stat()
    except FileNotFoundError:
        yield _can_be_made(about, state)
        return
    except OSError as error:
        yield Finding("problem", about, f"{state}: {error.strerror}")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Finding("problem", about, f"{state} is no folder")
    elif not os.access(state, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        yield Finding("problem", about, f"{state} cannot be written by this account; chown it, or set state.path")
    elif status.st_mode & stat.S_IRWXO:
        yield Finding("problem", about, f"{state} is open to every account of this host; chmod 700 {state}")
    elif status.st_uid != os.geteuid():
        yield Finding(
            "warning",
            about,
            f"{state} belongs to user {status.st_uid}, and this check runs as user {os.geteuid()}: "
            "what it finds may not hold for the services; run it as their account",
        )
    else:
        yield Finding("ok", about, str(state))


def _can_be_made(about: str, folder: Path) -> Finding:
    parent = next(parent for parent in folder.parents if os.path.lexists(parent))
    if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        return Finding("ok", about, f"{folder} does not exist yet, and will be made at the first start")
    return Finding(
        "problem",
        about,
        f"{folder} does not exist, and this account cannot make it in {parent}; "
        f"as root: install -d -m 700 -o {os.geteuid()} {folder}; or set {about}",
    )


def check_root(settings: Settings, root: Path) -> Finding:
    """An archive root, if it is ours: makes it if need be, writes and syncs for a moment, takes everything away again."""
    about = "archive.roots"
    try:
        if refusal := installation(settings).refusal(root):
            return Finding("problem", about, refusal)
    except ArchiveError as error:
        return Finding("problem", about, f"{root}: whose it is cannot be told: {error.detail}")
    except OSError:
        pass  # the trial says it, too
    made = [folder for folder in (root, *root.parents) if not os.path.lexists(folder)]
    kernel = Kernel(root)
    try:
        kernel.prepare()
        rate = _syncs_a_second(kernel)
        space = kernel.space()
    except OSError as error:
        return Finding("problem", about, f"{root}: cannot be written: {error.strerror}")
    finally:
        for folder in made:  # innermost first; what a service put there meanwhile keeps it
            with suppress(OSError):
                folder.rmdir()
    left = space.available - settings.archive.reserve.reserve().of(space.total)
    text = f"{root}: {rate:,.0f} fsyncs a second"
    if left <= 0:
        return Finding(
            "problem",
            about,
            f"{root}: {format_size(space.available)} free, less than archive.reserve ({settings.archive.reserve}) wants; "
            "everything would be refused; make room, or lower the reserve",
        )
    text += f", {format_size(left)} free above the reserve"
    if rate < SLOW_DISK:
        return Finding("warning", about, f"{text}; a slow disk: each report waits for one fsync or two")
    return Finding("ok", about, text + ("; will be made at the first start" if made else ""))


def check_store(settings: Settings) -> Iterator[Finding]:
    """The store's folder, if it is not ours."""
    with suppress(
        ArchiveError, OSError
    ):  # the state folder has its own finding, and the engine says what it cannot open
        if refusal := installation(settings).store_refusal(settings.store_path):
            yield Finding("problem", "store.url", refusal)


def _syncs_a_second(kernel: Kernel) -> float:
    name = f".check-{os.getpid()}"
    fd = kernel.create(name)
    try:
        began = time.monotonic()
        count = 0
        while count == 0 or time.monotonic() - began < TRIAL:
            kernel.writev(fd, [b"lae-monitor check config\n" * 160])  # about 4 KiB
            kernel.fsync(fd)
            count += 1
        return count / (time.monotonic() - began)
    finally:
        kernel.close(fd)
        kernel.remove(name)


def _root_that_may_hang(settings: Settings, root: Path) -> Finding:
    found: list[Finding] = []
    trial = threading.Thread(target=lambda: found.append(check_root(settings, root)), daemon=True)
    trial.start()
    trial.join(HANG_AFTER)
    hangs = Finding(
        "problem", "archive.roots", f"{root}: no answer within {HANG_AFTER:.0f} s; is it a mount that hangs?"
    )
    return found[0] if found else hangs


# ---- credentials ---------------------------------------------------------------------------------------------------


def check_credentials(folder: Path) -> Iterator[Finding]:
    """Every file below the folder of credentials: readable by this account, and by nobody else."""
    findings: list[Finding] = []
    count = 0
    unreadable: list[OSError] = []
    for place, _, names in os.walk(folder, onerror=unreadable.append):
        for name in [".", *names]:
            path = Path(place, name)
            count += name != "."
            with suppress(FileNotFoundError):  # replaced while we look
                findings += _credential(path)
    findings += [
        Finding("problem", "credentials", f"{error.filename}: {error.strerror}")
        for error in unreadable
        if error.errno != errno.ENOENT
    ]
    yield from findings or [Finding("ok", "credentials", f"{folder}: {count} files, closed to others")]


def _credential(path: Path) -> Iterator[Finding]:
    status = path.stat()
    wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("problem", "credentials", f"{path} is open to others than its owner; chmod {wanted} {path}")
    if not os.access(path, os.R_OK, effective_ids=True):
        yield Finding(
            "problem", "credentials", f"{path} cannot be read by this account, and it is never ignored; chown it"
        )


# ---- addresses -----------------------------------------------------------------------------------------------------


def check_address(address: Address, state: Path) -> Finding:
    """Whether the address can be listened on, now; one that our own process has is fine."""
    where = f"{address.host}:{address.port}"
    if address.port == 0:
        return Finding("ok", address.key, f"{address.host}: any free port")
    try:
        _bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and runs(state, address.process):
            return Finding("ok", address.key, f"{where}: in use by our own {address.process}, which is running")
        return Finding("problem", address.key, f"{where}: {_why(error, address)}")
    return Finding("ok", address.key, f"{where} is free")


def _bind(address: Address) -> None:
    for family, kind, protocol, _, place in socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as the servers do: no wait for old connections
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(place)
            trial.listen(1)


def _why(error: OSError, address: Address) -> str:
    if isinstance(error, socket.gaierror):
        return f"this name has no address: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"somebody else listens there; find out who with: ss -ltnp 'sport = :{address.port}'"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host has no such address"
    if error.errno == errno.EACCES:
        return "this account may not listen on a port below 1024; take a higher one, or systemd's socket unit"
    return str(error.strerror)

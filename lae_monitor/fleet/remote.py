"""One host over SSH: its files by SFTP, its commands, its loopback. Every wait has an end, and every error is a sentence.

fabric makes the connection, so `~/.ssh/config` holds as it does for ssh, jump hosts included; paramiko does the rest, for a
restarted node may keep a command's output open for ever, and what counts is that the command has ended.

No secret is in the arguments of a command: other accounts of the host can read those.
"""

import shlex
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Self

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.fleet.access import Access, connection
from lae_monitor.fleet.remote_errors import as_trouble, not_written
from lae_monitor.fleet.remote_sudo import MAX_FILE, Ran, Sudo
from lae_monitor.fleet.targets import Target
from lae_monitor.fleet.trouble import Trouble

MAX_OUTPUT: Final = 16 * KiB  # kept of what a command says: its end
MAX_HOST: Final = 900.0  # seconds for one host, however slowly it goes on answering
LOOK: Final = 0.1  # seconds between looks whether a command has ended that says nothing
LOCK_WAIT: Final = 60  # seconds for another run to end its work on the host
_HELD: Final = b"held"
_BUSY: Final = 75  # how flock ends when it has waited long enough


class Remote:
    """A connection, for the length of a `with`.

    Raises:
        Trouble: everywhere.
    """

    def __init__(self, target: Target, access: Access) -> None:
        self._target = target
        self._access = access._replace(user=target.user or access.user, port=target.port or access.port)
        self._end = threading.Timer(MAX_HOST, self._close)
        self._end.daemon = True
        self._sudo = Sudo(lambda command, stdin, keep: self.run(command, stdin, keep=keep)) if access.sudo else None

    def __enter__(self) -> Self:
        with as_trouble(self._target.address, self._access):
            self._connection = connection(self._target.address, self._access)
            self._end.start()
            try:
                self._connection.open()
                self._transport = self._connection.client.get_transport()
                self._sftp = self._files()
                self.home: str = self._sftp.normalize(".")
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._end.cancel()
        with suppress(Exception):  # of a connection that is broken already
            self._connection.close()
        with suppress(Exception):
            self._connection.client.close()

    def _files(self) -> Any:
        from paramiko import SFTPClient  # noqa: PLC0415

        channel = self._transport.open_session(timeout=self._access.timeout)
        channel.settimeout(self._access.timeout)
        with self._in_time():
            channel.invoke_subsystem("sftp")
        return SFTPClient(channel)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Ends what paramiko itself would wait for without an end, with the whole connection."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._close()

        timer = threading.Timer(self._access.timeout, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()

    # ---- files -----------------------------------------------------------------------------------------------------

    def path(self, text: str) -> str:
        """An absolute path of the host; `~/` and what is relative begin in the account's home."""
        text = text.removeprefix("~/") if text != "~" else "."
        return text if text.startswith("/") else f"{self.home.rstrip('/')}/{text}".removesuffix("/.")

    def status(self, path: str) -> Any:
        """Its stat, of what a link points to; None when there is nothing."""
        with as_trouble(self._target.address, self._access, path):
            try:
                return self._sftp.stat(path)
            except FileNotFoundError:
                return None

    def exists(self, path: str) -> bool:
        """Whether something is there, or a link that leads nowhere, which `read` says; with sudo, as root sees it."""
        if self._sudo is not None:
            return self._sudo.exists(path)
        with as_trouble(self._target.address, self._access, path):
            try:
                self._sftp.lstat(path)
            except FileNotFoundError:
                return False
        return True

    def read(self, path: str) -> bytes:
        """A whole file; with sudo, of whomever."""
        if self._sudo is not None:
            return self._sudo.read(path)
        if self.status(path) is None and self.exists(path):
            raise Trouble("bad_file", f"{path} is a link that leads nowhere", "name the tahoe.cfg of a node")
        with as_trouble(self._target.address, self._access, path):
            if not stat.S_ISREG(self._sftp.stat(path).st_mode or 0):
                raise Trouble("bad_file", f"{path} is no regular file", "name the tahoe.cfg of a node")
            with self._sftp.open(path, "rb") as file:
                data: bytes = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise Trouble("bad_file", f"{path} is larger than {MAX_FILE // MiB} MiB", "name the tahoe.cfg of a node")
        return data

    def replace(self, path: str, before: bytes, after: bytes) -> None:
        """Puts `after` in the place of a file that holds `before`, by a rename in its folder. A crash, a full disk or a
        broken connection leaves the old file whole; after a power cut it may be the old one again.

        Mode, owner and group stay; access list and labels where the host has GNU's cp, and the folder is the account's own
        or root's. A link stays one.
        """
        if self._sudo is not None:
            self._sudo.replace(path, before, after)
            return
        with as_trouble(self._target.address, self._access, path):
            real = self._sftp.normalize(path)
        folder = real.rpartition("/")[0]
        temporary = f"{folder}/.tahoe.cfg-{token_hex(8)}.tmp"
        try:
            with as_trouble(self._target.address, self._access, path):
                self._write(real, temporary, after)
                self._refuse_if_changed(path, before)
                self._sftp.posix_rename(temporary, real)
        except BaseException as error:
            with suppress(Exception):
                self._sftp.remove(temporary)
            if isinstance(error, Trouble) and error.code == "not_written":
                raise not_written(path, error, self._free(folder)) from error
            raise

    def _refuse_if_changed(self, path: str, before: bytes) -> None:
        if self.read(path) != before:
            raise Trouble("busy", f"somebody else changed {path} at the same time", "look at it, then try again")

    def _write(self, real: str, temporary: str, data: bytes) -> None:
        """The new file is its owner's alone until it is whole."""
        was = self._sftp.stat(real)
        with _created(self._sftp, temporary) as file:
            file.write(data)
            file.flush()
            # Labels and access lists are not known to SFTP. But cp goes by the name, in whose place the folder's owner can
            # put a link to any other file: he is to gain nothing by it.
            if self._sftp.stat(real.rpartition("/")[0] or "/").st_uid in {0, file.stat().st_uid}:
                keep = "--preserve=all --no-preserve=timestamps"
                self.run(f"cp --attributes-only {keep} -- {shlex.quote(real)} {shlex.quote(temporary)}")
            made = file.stat()
            if (made.st_uid, made.st_gid) != (was.st_uid, was.st_gid):
                file.chown(was.st_uid, was.st_gid)
            file.chmod(stat.S_IMODE(was.st_mode))
            with suppress(OSError):  # an extension of OpenSSH's
                self._sftp._request(200, "fsync@openssh.com", file.handle)  # noqa: SLF001 - paramiko has no name for it

    def _free(self, folder: str) -> int | None:
        """KiB that are free there, if the host says."""
        with suppress(Trouble, ValueError, IndexError):
            return int(self.run(f"df -Pk -- {shlex.quote(folder)}").output.splitlines()[-1].split()[3])
        return None

    # ---- commands --------------------------------------------------------------------------------------------------

    def run(self, command: str, stdin: bytes = b"", within: float | None = None, keep: int = MAX_OUTPUT) -> Ran:
        """Runs a line of the account's shell from its home, until it has ended; what it started may go on.

        Args:
            within: seconds; default: the timeout of every answer.
            keep: bytes of what it says: its end.
        """
        limit = self._access.timeout if within is None else within
        output = bytearray()
        with as_trouble(self._target.address, self._access), self._session() as channel:
            channel.set_combine_stderr(combine=True)
            with self._in_time():
                channel.exec_command(command)
            channel.settimeout(self._access.timeout)
            if stdin:
                _send(channel, stdin)
            channel.shutdown_write()
            channel.settimeout(LOOK)
            end = time.monotonic() + limit
            while True:
                try:
                    piece = channel.recv(32 * KiB)
                    output = (output + piece)[-keep:]
                    if not piece and channel.status_event.wait(max(end - time.monotonic(), 0)):
                        break
                except TimeoutError:
                    if channel.exit_status_ready():
                        break
                if time.monotonic() > end:
                    raise Trouble(
                        "timeout", f"{shown(command)} has not ended within {limit:.0f} s", "see what it waits for"
                    )
            status = channel.recv_exit_status()
            is_there = self._transport.is_active()
        if status < 0 and is_there:
            raise Trouble("failed", f"a signal ended {shown(command)}", "see what kills it, as when memory is short")
        if status < 0:
            raise Trouble(
                "unreachable", f"the connection broke while {shown(command)} ran", "see whether it ended there"
            )
        return Ran(status, output.decode("utf-8", "replace"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run of ours works on this account meanwhile; the host lets go of the lock when the connection ends."""
        with as_trouble(self._target.address, self._access), self._session() as channel:
            with self._in_time():
                channel.exec_command(
                    f"flock -E {_BUSY} -w {LOCK_WAIT} . sh -c 'echo {_HELD.decode()}; exec cat >/dev/null'"
                )
            channel.settimeout(LOCK_WAIT + self._access.timeout)
            said = b""  # the account's shell may print something first
            while _HELD not in said and (piece := channel.recv(KiB)):
                said = said[-len(_HELD) :] + piece
            # Where there is no such flock, changes of others are noticed still.
            if _HELD not in said and channel.status_event.wait(self._access.timeout) and channel.exit_status == _BUSY:
                raise Trouble(
                    "busy", f"another run has been at work on it for {LOCK_WAIT} s", "try again when it has ended"
                )
            yield

    @contextmanager
    def _session(self) -> Iterator[Any]:
        channel = self._transport.open_session(timeout=self._access.timeout)
        try:
            yield channel
        finally:
            channel.close()

    def tunnel(self, host: str, port: int) -> Any:
        """A channel to what listens there, as the host sees it; to be closed.

        Raises:
            paramiko.ChannelException: code 1 when its sshd allows no tunnels, 2 when nothing listens.
        """
        channel = self._transport.open_channel(
            "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=self._access.timeout
        )
        channel.settimeout(self._access.timeout)
        return channel


def _send(channel: Any, data: bytes) -> None:
    try:
        channel.sendall(data)
    except TimeoutError:
        raise
    except OSError:  # the command has ended, and does not want it; what it said tells why
        return


def shown(command: str) -> str:
    """A command as sentences name it."""
    return command if len(command) <= 60 else f"{command[:59]}…"


def _created(sftp: Any, path: str) -> Any:
    """A new file, open for writing, that nobody else can read, from its first moment; paramiko's `open` cannot say that."""
    from paramiko import SFTPAttributes, SFTPFile  # noqa: PLC0415
    from paramiko.sftp import CMD_OPEN, SFTP_FLAG_CREATE, SFTP_FLAG_EXCL, SFTP_FLAG_WRITE  # noqa: PLC0415

    closed = SFTPAttributes()
    closed.st_mode = 0o600
    _, answer = sftp._request(CMD_OPEN, path, SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_EXCL, closed)  # noqa: SLF001
    return SFTPFile(sftp, answer.get_binary(), "wb")

"""Errors of SSH -> a `Trouble`: its code, a sentence, what to do next."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lae_monitor.fleet.trouble import Trouble

if TYPE_CHECKING:
    from lae_monitor.fleet.access import Access


@contextmanager
def as_trouble(address: str, access: "Access", path: str = "") -> Iterator[None]:
    """Turns what goes wrong at `address`, on `path` of it, into Trouble."""
    import paramiko  # noqa: PLC0415 - takes a third of a second

    try:
        yield
    except paramiko.PasswordRequiredException as error:
        which = access.identity or "the agent has no key that it takes, and one in ~/.ssh"
        raise Trouble(
            "login_refused", f"{which} has a passphrase", "ssh-add that key to an agent, and leave --identity away"
        ) from error
    except paramiko.SFTPError as error:
        raise Trouble(
            "unreachable",
            f"what it sends in place of files is none of SFTP: {error}",
            f"ssh {access.user}@{address} true has to print nothing: mend what prints in ~/.bashrc, ~/.cshrc or the like "
            "of that account; and sshd_config has to have a Subsystem sftp",
        ) from error
    except (paramiko.AuthenticationException, paramiko.ssh_exception.UnableToAuthenticate) as error:
        raise _refused(access, error) from error
    except (TimeoutError, EOFError, paramiko.SSHException, socket.gaierror) as error:
        raise _no_connection(address, access, error) from error
    except OSError as error:
        raise _of_file(address, access, path, error) from error


def not_written(path: str, error: Trouble, free: int | None) -> Trouble:
    """Why SFTP, which only says "Failure", could not write.

    Args:
        free: KiB that are free there; None when that is not known.
    """
    if free == 0:
        return Trouble("disk_full", f"{path} is as it was: the disk is full", "free some space, then try again")
    return error


def _refused(access: "Access", error: Exception) -> Trouble:
    kinds = getattr(error, "allowed_types", None)
    wants = f"; it takes {', '.join(kinds)}" if kinds else ""
    with_what = f"with {access.identity}" if access.identity else "with the agent's keys and those in ~/.ssh"
    return Trouble(
        "login_refused",
        f"it does not let {access.user} in {with_what}{wants}",
        "name the right --user and --identity; on the host, see ~/.ssh/authorized_keys and sshd's log",
    )


def _no_connection(address: str, access: "Access", error: Exception) -> Trouble:
    if isinstance(error, socket.gaierror):
        return Trouble(
            "unreachable", f"{address} has no address: {error.strerror}", "see its name, and this host's DNS"
        )
    text = str(error)
    if _is_late(error):
        return Trouble(
            "timeout",
            f"no answer within {access.timeout:g} s",
            "see whether its sshd hangs, and what is between; a longer --timeout waits longer",
        )
    if "No authentication methods" in text:
        return _refused(access, error)
    if "banner" in text:
        return Trouble(
            "unreachable", f"the server at port {access.port} is no sshd; no SSH banner came", "see its --port"
        )
    return Trouble(
        "unreachable", f"the connection broke: {text or type(error).__name__}", "see whether it runs, then try again"
    )


def _is_late(error: BaseException | None) -> bool:
    """Whether a wait that ended is at the bottom of it; paramiko says so in the exception, its cause, or its words."""
    if error is None:
        return False
    words = str(error).lower()
    return (
        isinstance(error, TimeoutError)
        or any(late in words for late in ("timeout", "timed out", "no existing session"))
        or _is_late(error.__context__)
    )


def _of_file(address: str, access: "Access", path: str, error: OSError) -> Trouble:
    if error.errno == errno.ENOENT and path:
        return Trouble("bad_file", f"{path} is not there", "name the nodes of this host with --nodes")
    if error.errno == errno.EACCES and path:
        return Trouble(
            "not_permitted",
            f"{path}: this account may not read or replace it",
            "as --user, name the file's owner, or root, or say --sudo; the folder has to be writable too, and lsattr shows "
            "whether the file is immutable",
        )
    if path:
        return Trouble(
            "not_written",
            f"{path} is as it was: the host says {error.strerror or error}",
            "see whether its disk is full, or read only; then try again",
        )
    reason = error.strerror or str(error)
    for one in getattr(error, "errors", {}).values():
        reason = one.strerror or reason
    return Trouble(
        "unreachable",
        f"port {access.port} of {address}: {reason}",
        "see whether it runs, has this address, and lets this host through to its sshd",
    )

"""The files of another account of a host, by `sudo -n python3`: read, and replaced by the same editor as Ansible's.

The host's Python gets the program and what it works on by standard input, so nothing secret is in arguments, or in sudo's
log of commands. Nothing stays on the host but the edit.
"""

import base64
import binascii
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.secrets import redact
from lae_monitor.fleet import tahoe_cfg
from lae_monitor.fleet.trouble import Trouble

MAX_FILE: Final = 1 * MiB  # of a tahoe.cfg, which has about 2 KiB
MAX_ANSWER: Final = 2 * MAX_FILE + 64 * KiB  # in base64, with what a shell says at its start
_MARK: Final = "lae-monitor-answers:"
# As any program of the host's may be sent by others, -I keeps the working folder out of what is imported.
_BEGIN: Final = "sudo -n -- python3 -I -c 'import sys; exec(sys.stdin.buffer.read({size}))'"
_END: Final = """

def answered(asked):
    import base64, hashlib
    def edit(data):
        if "after" not in asked:
            return data
        if hashlib.sha256(data).hexdigest() != asked["before"]:
            raise BadFile("busy")
        return base64.b64decode(asked["after"])
    try:
        if os.path.isfile(asked["path"]) and os.path.getsize(asked["path"]) > asked["most"]:
            return {"wrong": "large"}
        return {"data": base64.b64encode(edit_file(asked["path"], edit).before).decode()}
    except FileNotFoundError:
        return {"wrong": "dangling" if os.path.lexists(asked["path"]) else "missing"}
    except BadFile as error:
        return {"wrong": "busy" if "after" in asked else "no_file"}
    except OSError as error:
        return {"wrong": "error", "number": error.errno, "why": why(error)}

def main():
    import json, sys
    sys.stdout.write("\\n" + MARK + json.dumps(answered(json.loads(sys.stdin.buffer.read().decode()))) + "\\n")

main()
"""


class Ran(NamedTuple):
    """How a command ended, and the end of what it said."""

    status: int
    output: str


class Sudo:
    """Reads and replaces files of a host as root. `run` runs a command there, with standard input and a limit of output.

    Raises:
        Trouble: everywhere.
    """

    def __init__(self, run: Callable[[str, bytes, int], Ran]) -> None:
        self._run = run

    def exists(self, path: str) -> bool:
        """Whether something is there, or a link that leads nowhere."""
        return str(self._ask(path)["wrong"]) != "missing"

    def read(self, path: str) -> bytes:
        """A whole file."""
        answer = self._ask(path)
        _refuse(path, answer)
        return bytes(answer["data"])

    def replace(self, path: str, before: bytes, after: bytes) -> None:
        """As `tahoe_cfg.edit_file` does it: mode, owner, group, access list and labels stay; so does a link."""
        digest, text = sha256(before).hexdigest(), base64.b64encode(after).decode()
        _refuse(path, self._ask(path, before=digest, after=text))

    def _ask(self, path: str, **more: str) -> dict[str, Any]:
        """Its `wrong`, "" when all is well, and `data`."""
        program = Path(tahoe_cfg.__file__).read_bytes() + f"\nMARK = {_MARK!r}\n{_END}".encode()
        asked = json.dumps({"path": path, "most": MAX_FILE, **more}).encode()
        ran = self._run(_BEGIN.format(size=len(program)), program + asked, MAX_ANSWER)
        said, mark, answer = ran.output.rpartition(_MARK)
        try:
            found = json.loads(answer.partition("\n")[0]) if mark else None
            if isinstance(found, dict):
                data = base64.b64decode(str(found.get("data", "")))
                return {"why": "", "number": 0, **found, "wrong": str(found.get("wrong", "")), "data": data}
        except (ValueError, binascii.Error):
            pass  # of a host that says other things than it should
        words = redact(said if mark else ran.output).strip().splitlines()
        last = words[-1][:200] if words else f"it ended with status {ran.status}"
        raise Trouble(
            "not_permitted",
            f"its sudo does not run python3 for this account: {last}",
            "let that account run python3 by sudo without a password; or as --user, name the files' owner, or root",
        )


def _refuse(path: str, answer: dict[str, Any]) -> None:
    following = "name the tahoe.cfg of a node"
    wrong = answer["wrong"]
    if wrong == "busy":
        raise Trouble("busy", f"somebody else changed {path} at the same time", "look at it, then try again")
    reasons = {
        "missing": f"{path} is not there",
        "dangling": f"{path} is a link that leads nowhere",
        "large": f"{path} is larger than {MAX_FILE // MiB} MiB",
        "no_file": f"{path} is no regular file",
    }
    if wrong in reasons:
        raise Trouble("bad_file", reasons[wrong], following)
    if wrong:
        code = {1: "not_permitted", 13: "not_permitted", 28: "disk_full"}.get(answer["number"], "not_written")
        reason, _, advice = str(answer["why"]).partition("; ")
        raise Trouble(code, f"{path} is as it was: {reason}", advice or "see to that, then try again")

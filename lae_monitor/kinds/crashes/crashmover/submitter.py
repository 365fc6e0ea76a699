"""The destination that is another collector: the crash is sent as its client sent it. Blocking.

With the token of a submitter the crash keeps its id, and a collector of ours does not store it twice. Without one the other
collector gives it an id of its own, which the ledger notes; a reply that gets lost then means a second copy there.
"""

import gzip
import re
from pathlib import Path
from typing import Final

from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.crashmover.destination import Never, Unavailable
from lae_monitor.kinds.crashes.crashmover.posting import post
from lae_monitor.kinds.crashes.form import File, form
from lae_monitor.kinds.crashes.report import annotations_in

MENDED: Final = frozenset({401, 403, 404, 405, 408, 409, 425, 429})  # by somebody, or by time: not the crash's fault
MAX_TOKEN: Final = 1000  # bytes of a file that holds one
_CRASH_ID: Final = re.compile(r"^CrashID=(\S{1,200})\s*$", re.MULTILINE)


def form_of(crash: Crash, *, keeps_id: bool, compress: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST: the crash as a form, the way its client sent it.

    Args:
        keeps_id: sends the crash id along, as `uuid`.
        compress: the whole body by gzip.
    """
    told = annotations_in(crash.document)
    told.pop("uuid", None)
    if keeps_id:
        told["uuid"] = str(crash.crash_id)
    filenames = crash.metadata.get("filenames")
    known = filenames if isinstance(filenames, dict) else {}
    files = [File(name, str(known.get(name, f"{name}.dmp")), data) for name, data in crash.dumps.items()]
    headers, body = form(told, files)
    if compress:
        headers["Content-Encoding"], body = "gzip", gzip.compress(body, 6)
    return headers, body


class Submitter:
    """POSTs crashes; success is 200 with a `CrashID`."""

    def __init__(self, settings: config.Http) -> None:
        self._settings = settings

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        own = self._settings
        token = read_token(own.token_file) if own.token_file is not None else ""
        headers, body = form_of(crash, keeps_id=bool(token), compress=own.gzip)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        reply = post(own.url, headers, body, own.timeout)
        said = shorten(reply.text.strip(), 200)
        if reply.status == 200:
            found = _CRASH_ID.search(reply.text)
            if found is None:
                raise Never(f"{own.url} did not keep it: {said}")
            if token and not found[1].endswith(crash.crash_id):
                raise Never(f"{own.url} gave it another id: {said}")
            return f"{own.url}: {found[1]}"
        text = f"{own.url}: status {reply.status}: {said}"
        if 400 <= reply.status < 500 and reply.status not in MENDED:
            raise Never(text)
        raise Unavailable(text, reply.retry_after)

    def close(self) -> None:
        pass


def read_token(path: Path) -> str:
    """The token in the file; read each time, so that it can be changed without a restart.

    Raises:
        Unavailable
    """
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path}: {error}") from error
    if not token or not token.isprintable():
        raise Unavailable(f"{path}: holds no token")
    return token

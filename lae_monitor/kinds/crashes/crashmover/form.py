"""A crash as a form, the way its client sent it. Pure."""

import gzip
from typing import Any

from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.form import File, form
from lae_monitor.kinds.crashes.report import OURS


def annotations_of(crash: Crash) -> dict[str, Any]:
    """What its client said: without what the collector added, and with what the collector replaced."""
    replaced = crash.metadata.get("replaced")
    theirs = {name: value for name, value in crash.document.items() if name not in OURS}
    return theirs | (replaced if isinstance(replaced, dict) else {})


def form_of(crash: Crash, *, keeps_id: bool, compress: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST.

    Args:
        keeps_id: sends the crash id along, as `uuid`.
        compress: the whole body by gzip.
    """
    told = annotations_of(crash)
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

"""Recorded incidents, as nodes have them on disk."""

import hashlib

from lae_monitor.kinds.incidents.wire.flog import pack


def made_incident(folder, name, events=3, text="x", run=None):
    """A recorded incident; of a run of its own, unless told otherwise."""
    run = run or hashlib.sha256(f"{folder} {name}".encode()).hexdigest()[:16]
    listed = [
        {
            "num": number,
            "time": 1.7e9 + number,
            "level": 20,
            "incarnation": [run, None],
            "message": f"{text} {number}",
        }
        for number in range(events)
    ]
    header = {"type": "incident", "trigger": {**listed[0], "level": 30}, "versions": {"foolscap": "24.9.0"}, "pid": 7}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.flog.bz2").write_bytes(b"".join(pack((header, listed), "local", 1.7e9).chunks))


def name_of(day, second=0, ending="aaaaaaa"):
    return f"incident-2026-{day}--10-00-{second:02}Z-{ending}"

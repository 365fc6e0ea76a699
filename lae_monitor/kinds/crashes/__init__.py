"""Crash reports that Breakpad, Crashpad and Firefox clients POST; replaces the collectors of the Socorro family.

Accepted means: one zip is durable at `crashes/<YYYYMMDD>/<crash id>.zip`, holding `raw_crash.json` and each dump by its
name, byte for byte. Nothing of a report is understood before that; `read.py` does it later, without I/O.
"""

from typing import Final

from lae_monitor.core.kind import Command, Kind

CRASHES: Final = Kind(
    name="crashes",
    event="crash",
    room=__name__,
    keep="2y",
    about="crash reports",
    reports=r"crashes/\d{8}/",
    sections=("crashmover",),
    same=("upload_file_minidump.sha256", "guid"),
    why=f"{__name__}.grouped:why",
    why_attributes=("signature.why",),
    classes=f"{__name__}.products:classes",
    class_group=f"{__name__}.products:group_of_product",
    show=f"{__name__}.show:show",
    commands=(
        ("crashes", Command(f"{__name__}.commands:crashes", "Send a crash report; try throttle rules")),
        (
            "crashmover",
            Command(f"{__name__}.crashmover.commands:crashmover", "Hand stored crashes on to other systems"),
        ),
    ),
    routes=f"{__name__}.socorro.routes:routes",
    mark="M9.5 1 3 9h4l-1.2 6L13 6.5H8.6z",
)

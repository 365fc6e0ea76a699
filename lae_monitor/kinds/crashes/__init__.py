"""Crash reports that Breakpad, Crashpad and Firefox clients POST; replaces the collectors of the Socorro family.

Accepted means: one zip is durable at `crashes/<YYYYMMDD>/<crash id>.zip`, holding `raw_crash.json` and each dump by its
name, byte for byte. Nothing of a report is understood before that; `read.py` does it later, without I/O.

    intake/       one upload, from its first byte to its answer          throttle/    which reports are kept
    crashmover/   hands stored crashes on                                takeover/    imports those of older collectors
    socorro/      Socorro's API to read crashes
    gather        the listener; wsgi the same below gunicorn             check        what `check config` asks
    report        one report while it comes, and raw_crash.json          container    the zip that holds it
    program       of which product it is, here and nowhere else          tokens       who may send for a product
    read          archive -> rows: minidump, signature; why a group is one; which products are kept longer
    show          a report taken apart for people                        reasons      reason codes of refused reports
    commands      `lae-monitor crashes`: form is what it sends
"""

from typing import Final

from lae_monitor.core.kind import Command, Kind, Takeover
from lae_monitor.kinds.crashes.reasons import REASONS

CRASHES: Final = Kind(
    name="crashes",
    event="crash",
    room=__name__,
    keep="2y",
    about="crash reports",
    reports=r"crashes/\d{8}/",
    sections=("crashmover",),
    same=("upload_file_minidump.sha256", "guid"),
    why=f"{__name__}.read:why",
    why_attributes=("signature.why",),
    classes=f"{__name__}.read:classes",
    class_group=f"{__name__}.read:group_of_product",
    version=f"{__name__}.read:RELEASE",
    tokens=f"{__name__}.tokens:TOKENS",
    companions=f"{__name__}.crashmover.config:companions",
    show=f"{__name__}.show:show",
    commands=(
        ("crashes", Command(f"{__name__}.commands:crashes", "Send a crash report; try throttle rules")),
        (
            "crashmover",
            Command(f"{__name__}.crashmover.commands:crashmover", "Hand stored crashes on to other systems"),
        ),
    ),
    first="crashes submit",
    takeover=Takeover(("antenna", "socorro", "tar"), f"{__name__}.takeover.commands:take_over"),
    routes=f"{__name__}.socorro.routes:routes",
    demo=f"{__name__}.demo:Crashes",
    reasons=REASONS,
    mark="M9.5 1 3 9h4l-1.2 6L13 6.5H8.6z",
)

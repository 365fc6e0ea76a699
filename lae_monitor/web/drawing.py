"""Numbers -> the coordinates of what the pages draw: bars, strips, areas. Only numbers and known words come out."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import HOUR, format_time, parse_time
from lae_monitor.query.hosts import Host, Load
from lae_monitor.query.timeline import Activity, Gap

WIDTH: Final = 1000.0  # of a strip, in its own units; it is stretched to the page
HEIGHT: Final = 24.0
BAR: Final = 4.0  # width of a sparkline's bar, with 1 between two
NARROWEST: Final = 2.5  # of a mark in a strip, so that it can be seen
_AFTER_ALL: Final = "f" * 32  # the last key of a moment: a cursor that includes the moment


class Bar(NamedTuple):
    """A rectangle that stands on the ground, in the colour of `level`."""

    x: float
    y: float
    width: float
    height: float
    level: str
    title: str = ""


class Lane(NamedTuple):
    """One kind's strip."""

    kind: str
    events: int
    bars: list[Bar]


class Area(NamedTuple):
    """A filled line: `path` for SVG, and the value that is its full height."""

    path: str
    top: float


class Column(NamedTuple):
    """A piece of the overview's axis; `before` is the cursor of the timeline's page that ends with it."""

    label: str
    before: str


class Overview(NamedTuple):
    """A host's last days at one glance."""

    lanes: list[Lane]
    gaps: list[Bar]
    cores: Area | None
    memory: Area | None
    columns: list[Column]


def sparkline(host: Host) -> list[Bar]:
    """A bar for each of the last 24 hours with events, as high as the square root of their number beside the most."""
    most = max(host.hours, default=0)
    return [
        _standing(hour * (BAR + 1), BAR, (events / most) ** 0.5, level)
        for hour, (events, level) in enumerate(zip(host.hours, host.hours_worst, strict=True))
        if events
    ]


def bars(counts: Sequence[int], level: str) -> list[Bar]:
    """A bar for each count that is not 0, as high as the square root of its share of the most, in the colour of `level`."""
    most = max(counts, default=0)
    return [
        _standing(number * (BAR + 1), BAR, (count / most) ** 0.5, level, str(count))
        for number, count in enumerate(counts)
        if count
    ]


def _standing(x: float, width: float, share: float, level: str, title: str = "") -> Bar:
    height = max(round(share * HEIGHT, 1), 3.0)
    return Bar(
        round(x, 1), round(HEIGHT - height, 1), round(width, 1), height, level if level in LEVELS else "none", title
    )


def overview(activity: Activity, load: Load | None, gaps: Sequence[Gap], columns: int, cores: int) -> Overview:
    """
    Args:
        columns: how many pieces the axis has.
        cores: of the host, 0 if unknown: the full height of its load.
    """
    scale = WIDTH / (activity.until - activity.since)
    return Overview(
        lanes=_lanes(activity, scale),
        gaps=[_gap(gap, activity.since, scale) for gap in gaps],
        cores=_area(load.cores, load, scale, cores) if load else None,
        memory=_area(load.resident_kib, load, scale, 0) if load else None,
        columns=list(_columns(activity, columns)),
    )


def _lanes(activity: Activity, scale: float) -> list[Lane]:
    lanes: dict[str, Lane] = {}
    most: dict[str, int] = {}
    for bucket in activity.buckets:
        most[bucket.kind] = max(most.get(bucket.kind, 0), bucket.events)
    width = max(activity.bucket * scale * 0.9, NARROWEST)
    for bucket in activity.buckets:
        at = activity.since + bucket.at * activity.bucket
        title = f"{format_time(at, digits=0)}: {bucket.events} of kind {bucket.kind}, the worst {bucket.worst}"
        bar = _standing(
            (at - activity.since) * scale, width, (bucket.events / most[bucket.kind]) ** 0.5, bucket.worst, title
        )
        lane = lanes.setdefault(bucket.kind, Lane(bucket.kind, 0, []))
        lane.bars.append(bar)
    totals = {kind: sum(bucket.events for bucket in activity.buckets if bucket.kind == kind) for kind in lanes}
    return [lane._replace(events=totals[kind]) for kind, lane in lanes.items()]


def _gap(gap: Gap, since: float, scale: float) -> Bar:
    start, end = parse_time(gap.start), parse_time(gap.end)
    x = max((start - since) * scale, 0.0)
    title = f"no samples from {gap.start} to {gap.end}"
    return Bar(round(x, 1), 0.0, round(max((end - since) * scale - x, NARROWEST), 1), HEIGHT, "none", title)


def _area(values: Sequence[float | int | None], load: Load, scale: float, top: float) -> Area:
    """Steps, one a bucket, interrupted where no sample came."""
    known = [value for value in values if value is not None]
    top = max([top, *known]) or 1
    step = load.bucket * scale
    path = []
    for at, value in enumerate(values):
        if value is not None:
            y = HEIGHT - HEIGHT * value / top
            path.append(f"M{at * step:.1f} {HEIGHT:g}V{y:.1f}h{step:.1f}V{HEIGHT:g}z")
    return Area("".join(path), top)


def _columns(activity: Activity, columns: int) -> Iterable[Column]:
    width = (activity.until - activity.since) / columns
    for number in range(columns):
        start = activity.since + number * width
        day = format_time(start)[:10]
        label = format_time(start)[11:16] if width < 24 * HOUR else day[5:]
        yield Column(label, f"{int((start + width) * 1e6)}-{_AFTER_ALL}")

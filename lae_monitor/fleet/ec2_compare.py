"""The last list of instances and the one of now, compared: what is wrong, and what of it is news. No I/O.

Some findings stand until they are mended; others are told once, in the run that sees it happen. After that, what is
there counts as meant.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from lae_monitor.core.refusals import shorten
from lae_monitor.core.time import MINUTE, Clock, format_time
from lae_monitor.fleet.ec2 import TAG_NAME, TAG_ROLE, Instance

GRACE: Final = 30 * MINUTE  # after its launch an instance is new, not unknown; and may take so long to start
VERSION: Final = 1  # of the kept list
MAX_LISTED: Final = 10  # instances named in one text
NODE: Final = "node"  # the role of hosts that report incidents

STANDING: Final[Mapping[str, str]] = {
    "untagged": "has no tag Name, or no role",
    "bad_name": "has a Name that no host can have",
    "duplicate_name": "shares its Name with another instance",
    "stopped": "has a role, and does not run",
    "not_reporting": "runs as a node, and was never heard by the incident gatherer",
}
ONCE: Final[Mapping[str, str]] = {
    "unknown": "is not in the last list, and was launched more than 30 minutes ago",
    "gone": "was in the last list, and is terminated or missing",
    "replaced": "took the Name of an instance that is gone",
    "renamed": "has another Name than in the last list",
    "changed_address": "has another private or public address",
    "restarted": "has another launch time: it was probably restarted",
}
NEWS: Final[Mapping[str, str]] = {
    "new": "was launched within the last 30 minutes",
    "begins": "a region is looked at for the first time",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one instance, or with several of one Name; or news, which is no finding.

    `host`: on whose timeline it belongs; `about` tells findings of one kind and the same instances apart.
    """

    kind: str
    host: str
    regions: tuple[str, ...]
    instances: tuple[str, ...]
    text: str
    about: str = ""

    @property
    def key(self) -> tuple[str, tuple[str, ...], str]:
        """Equal for the same finding in another run, however its text puts it by then."""
        return self.kind, self.instances, self.about


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept from run to run: the last list, by region, and what was found then."""

    version: int = VERSION
    regions: dict[str, list[Instance]] = {}
    findings: list[Finding] = []


class Change(NamedTuple):
    """`how`: `new` or `over`."""

    how: str
    finding: Finding


class Comparison(NamedTuple):
    """`cleared`: there were findings the last time, and are none now; `faded`: those of them that are told once, and were;
    `known`: what to keep for the next run.
    """

    findings: list[Finding]
    changes: list[Change]
    cleared: bool
    faded: list[Finding]
    known: Known


def compare(
    before: Known | None,
    now: Mapping[str, Sequence[Instance]],
    heard: Collection[str],
    clock: Clock,
    tag_role: str = TAG_ROLE,
) -> Comparison:
    """What is wrong now, and what of it has changed.

    Args:
        before: what the last run kept; None at the first.
        now: the instances by region. Regions that were not asked stay in the list as they were.
        heard: the hosts that the incident gatherer has heard.
        clock: now, in seconds.
        tag_role: the tag's name, for people.
    """
    before = before or Known()
    there = [instance for instances in now.values() for instance in instances if instance.exists]
    found = [*_standing(there, heard, clock(), tag_role)]
    happened: list[Finding] = []
    for region, instances in now.items():
        if region in before.regions:
            happened += _happened(before.regions[region], instances, clock())
    told = [finding for finding in happened if finding.kind in ONCE]
    findings = sorted((*found, *told), key=lambda finding: (finding.host, finding.kind, finding.instances))
    judged = [finding for finding in before.findings if {*finding.regions} <= now.keys()]
    changes = [
        *(Change("new", finding) for finding in _begun(before, now)),
        *(Change("new", finding) for finding in happened if finding.kind in NEWS),
        *_changes(judged, findings, before.regions.keys(), there),
    ]
    lists = {region: _kept(before.regions.get(region, ()), instances) for region, instances in now.items()}
    elsewhere = [finding for finding in before.findings if not {*finding.regions} <= now.keys()]
    return Comparison(
        findings,
        changes,
        cleared=bool(judged) and not findings,
        faded=[finding for finding in judged if finding.kind in ONCE],
        known=Known(regions={**before.regions, **lists}, findings=[*elsewhere, *findings]),
    )


def _changes(
    before: Sequence[Finding], now: Sequence[Finding], regions: Collection[str], there: Sequence[Instance]
) -> Iterator[Change]:
    """Findings that are new in a region that was looked at before, and those that are over."""
    known, found = {finding.key for finding in before}, {finding.key for finding in now}
    for finding in now:
        if finding.kind in ONCE or (finding.key not in known and {*finding.regions} <= {*regions}):
            yield Change("new", finding)
    # Of an instance that is gone, that is said, and no more; and that a stopped one does not report is no end to it.
    states = {instance.id: instance.state for instance in there}
    for finding in before:
        if finding.kind in STANDING and finding.key not in found:
            left = {states[one] for one in finding.instances if one in states}
            if left and (finding.kind != "not_reporting" or "running" in left):
                yield Change("over", finding)


def _begun(before: Known, now: Mapping[str, Sequence[Instance]]) -> Iterator[Finding]:
    """One piece of news for all regions that are looked at for the first time."""
    fresh = tuple(region for region in now if region not in before.regions)
    if fresh:
        counts = ", ".join(f"{sum(one.exists for one in now[region])} in {region}" for region in fresh)
        text = f"the list of EC2 instances begins: {counts}"
        yield Finding(kind="begins", host="", regions=fresh, instances=(), text=text)


def _finding(kind: str, instance: Instance, text: str, about: str = "") -> Finding:
    return Finding(
        kind=kind, host=instance.shown_as, regions=(instance.region,), instances=(instance.id,), text=text, about=about
    )


# ---- what stands -----------------------------------------------------------------------------------------------------


def _standing(there: Sequence[Instance], heard: Collection[str], now: float, tag_role: str) -> Iterator[Finding]:
    by_name: dict[str, list[Instance]] = defaultdict(list)
    for instance in there:
        missing = [tag for tag, value in ((TAG_NAME, instance.name.strip()), (tag_role, instance.roles)) if not value]
        if missing:
            yield _finding(
                "untagged", instance, f"{instance.id} has no tag {' and no tag '.join(missing)}", str(missing)
            )
        if instance.host is not None:
            by_name[instance.shown_as].append(instance)
        elif instance.name.strip():
            text = f"{instance.id} has the Name {shorten(instance.name)}, which no host can have"
            yield _finding("bad_name", instance, text, instance.name)
        is_starting = instance.state == "pending" and now - instance.launched < GRACE
        if instance.roles and instance.state != "running" and not is_starting:
            text = f"{instance.id} is {instance.state}, although it has the role {shorten(instance.role)}"
            yield _finding("stopped", instance, text)
        if instance.state == "running" and NODE in instance.roles and instance.host and instance.host not in heard:
            text = f"{instance.id} runs as a node, but the incident gatherer never heard {instance.host}"
            yield _finding("not_reporting", instance, text)
    for name, same in by_name.items():
        if len(same) > 1:
            yield Finding(
                kind="duplicate_name",
                host=name,
                regions=tuple(sorted({instance.region for instance in same})),
                instances=tuple(sorted(instance.id for instance in same)),
                text=f"{len(same)} instances have this Name: {_listed(instance.id for instance in same)}",
            )


# ---- what happened ---------------------------------------------------------------------------------------------------


def _happened(before: Sequence[Instance], now: Sequence[Instance], clock: float) -> Iterator[Finding]:
    """What became of the list of a region since the last time."""
    old = {instance.id: instance for instance in before}
    there = {instance.id: instance for instance in now if instance.exists}
    gone = {instance.id: instance for instance in before if instance.id not in there}
    ends = {instance.id: instance.state for instance in now if not instance.exists}
    successors: dict[str, list[Instance]] = defaultdict(list)
    for instance in there.values():
        if instance.id in old:
            yield from _altered(old[instance.id], instance)
            continue
        predecessors = [other.id for other in gone.values() if instance.host and other.name == instance.name]
        if predecessors:
            text = f"{instance.id} took the place of {_listed(predecessors)}"
            yield _finding("replaced", instance, text, _listed(predecessors))
            for predecessor in predecessors:
                successors[predecessor].append(instance)
        elif clock - instance.launched < GRACE:
            yield _finding("new", instance, f"{instance.id} is new, launched {_time(instance.launched)}")
        else:
            text = f"{instance.id} was not in the last list, and was launched {_time(instance.launched)}"
            yield _finding("unknown", instance, text)
    for instance in gone.values():
        if not successors[instance.id]:
            addresses = " and ".join(filter(None, (instance.private, instance.public))) or "no address"
            text = f"{instance.id} is {ends.get(instance.id, 'missing')}; it was {instance.state}, with {addresses}"
            yield _finding("gone", instance, text)


def _altered(old: Instance, new: Instance) -> Iterator[Finding]:
    if old.name.strip() and new.host is not None and old.name != new.name:
        text = f"{new.id} has the Name {new.host}, and had {shorten(old.name)}"
        yield _finding("renamed", new, text, old.name)
    moved = [
        f"{what} {was or 'none'} became {is_now or 'none'}"
        for what, was, is_now in (("private", old.private, new.private), ("public", old.public, new.public))
        if was != is_now and ((was and is_now) or _both_run(old, new))
    ]
    if moved:
        yield _finding("changed_address", new, f"{new.id}: {', '.join(moved)}", str(moved))
    if old.launched != new.launched:
        text = f"{new.id} was launched {_time(new.launched)}, no longer {_time(old.launched)}: probably restarted"
        yield _finding("restarted", new, text)


def _both_run(old: Instance, new: Instance) -> bool:
    """An instance gets addresses as it starts, and gives the public one back as it stops: that is no change."""
    return old.state == new.state == "running"


def _kept(before: Sequence[Instance], now: Sequence[Instance]) -> list[Instance]:
    """The list for the next run: what exists, with the last address of what does not run."""
    old = {instance.id: instance for instance in before}
    return [_with_addresses(instance, old.get(instance.id)) for instance in now if instance.exists]


def _with_addresses(new: Instance, old: Instance | None) -> Instance:
    if old is None or new.state == "running":
        return new
    return msgspec.structs.replace(new, private=new.private or old.private, public=new.public or old.public)


def _listed(ids: Iterable[str]) -> str:
    first = list(islice(ids, MAX_LISTED + 1))
    return ", ".join(first[:MAX_LISTED]) + (", ..." if len(first) > MAX_LISTED else "")


def _time(seconds: float) -> str:
    return format_time(seconds, digits=0)

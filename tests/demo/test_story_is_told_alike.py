"""The demo's story is the same for the same seed, whatever the time of day, and has what its announcement says."""

import gzip
import random
import re
from collections import Counter

import pytest

from lae_monitor.core.rows import Event, Receipt, Span
from lae_monitor.core.time import HOUR
from lae_monitor.demo.hosts import CLUSTERS, HOSTS, SICK, inventory
from lae_monitor.demo.part import happenings, parts_of
from lae_monitor.demo.story import SILENT_FROM, Story
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes import demo as crashes
from lae_monitor.kinds.incidents.demo.mishaps import incident_of
from lae_monitor.kinds.sonar.demo.samples import samples
from lae_monitor.kinds.sonar.read import read as read_samples
from lae_monitor.kinds.sonar.rows import Sample

PARTS = tuple(parts_of(KINDS).values())

BEGINS = 1_790_000_000.0


def told(seed: int, begins: float, hours: float = 6) -> list[tuple]:
    """What every host would send, with times counted from the beginning."""
    story = Story(seed, begins, hours)
    found = []
    for start, end in ((begins, story.ends), (story.ends, story.ends + HOUR)):
        for happening in happenings(PARTS, story, start, end):
            elapsed = round(happening.time - begins, 3)
            if happening.what == "samples":
                lines = samples(story, happening.host, happening.time).splitlines()
                said = [line.replace(line.split(",")[1], "time") for line in lines]
                said = [",".join(part for part in line.split(",") if "epoch" not in part) for line in said]
            elif happening.what == "crash":
                post = crashes.post(story, happening, "127.0.0.1:1")
                body = gzip.decompress(post.body) if post.chunked else post.body
                said = [post.target, re.search(rb'MozCrashReason"[:\s]+([^\r]+?)(?:\r|", ")', body)[1]]
            else:
                said = [event.get("format") for event in incident_of(story, happening).before]
            found.append((elapsed, happening.host.name, happening.what, said))
    return found


def test_the_same_seed_tells_the_same_story_at_any_time_of_any_day():
    seed = random.randrange(2**32)
    print("seed", seed)
    assert told(seed, BEGINS) == told(seed, BEGINS + 123_456.0)


def test_another_seed_tells_it_with_other_chances():
    assert told(1, BEGINS) != told(2, BEGINS)


def test_life_in_pieces_is_life_as_a_whole():
    """The fleet looks once a second what happens next: nothing is told twice, nothing left out."""
    story = Story(3, BEGINS, 1)
    whole = [(item.time, item.host, item.what) for item in happenings(PARTS, story, story.ends, story.ends + 1800)]
    pieces, at = [], story.ends
    dice = random.Random(5)
    while at < story.ends + 1800:
        until = min(at + dice.uniform(0.01, 90), story.ends + 1800)
        pieces += [(item.time, item.host, item.what) for item in happenings(PARTS, story, at, until)]
        at = until
    assert pieces == whole


@pytest.mark.parametrize("hours", [0.25, 1, 6, 24])
def test_the_sick_host_grows_fails_crashes_and_falls_silent(hours):
    story = Story(1, BEGINS, hours)
    mine = [item for item in happenings(PARTS, story, BEGINS, story.ends) if item.host == SICK]
    counts = Counter(item.what for item in mine)
    assert counts["crash"] >= 5
    assert counts["incident"] >= 4
    assert counts["samples"] >= 2
    assert max(item.time for item in mine) < story.at(SILENT_FROM)
    assert not [item for item in happenings(PARTS, story, story.ends, story.ends + HOUR) if item.host == SICK]
    first = min(item.time for item in mine if item.what == "crash")
    assert story.server_gib(first - 1) > 5 * story.server_gib(BEGINS)
    assert story.server_gib(first + 1) < story.server_gib(BEGINS) + 1  # it was started anew


def test_there_are_12_hosts_in_3_clusters_and_all_report():
    assert len(HOSTS) == 12
    assert {host.cluster for host in HOSTS} == set(CLUSTERS)
    assert len(CLUSTERS) == 3
    story = Story(1, BEGINS, 1)
    assert {item.host for item in happenings(PARTS, story, BEGINS, story.ends)} == set(HOSTS)
    assert len(inventory()) == len(set(inventory().values())) == 5


def test_samples_are_what_the_reader_of_samples_takes():
    story = Story(1, BEGINS, 2)
    for item in happenings(PARTS, story, BEGINS, story.ends):
        if item.what == "samples":
            data = samples(story, item.host, item.time).encode()
            path = f"sonar/{item.host.cluster}/2026/09/21/{item.host.name}.csv"
            rows = list(read_samples(Span(path, 0, len(data)), data))
            assert not [row for row in rows if isinstance(row, Receipt)]
            assert [row.host for row in rows if isinstance(row, Event)] == [item.host.name]
            assert all(row.time == int(item.time) for row in rows if isinstance(row, Sample))


def test_processor_time_grows_no_faster_than_the_host_can_work():
    """What was used between two samples is what pages show as cores in use."""
    story = Story(1, BEGINS, 2)
    seen: dict[tuple, tuple[float, float]] = {}
    for item in happenings(PARTS, story, BEGINS, story.ends):
        if item.what != "samples":
            continue
        data = samples(story, item.host, item.time).encode()
        path = f"sonar/{item.host.cluster}/2026/09/21/{item.host.name}.csv"
        for row in read_samples(Span(path, 0, len(data)), data):
            if not isinstance(row, Sample) or row.heartbeat:
                continue
            process = (row.host, row.job, row.epoch, row.pid, row.user, row.cmd)
            time, used = seen.get(process, (row.time, row.cpu_time))
            assert used <= row.cpu_time <= used + 64 * (row.time - time) + 1
            seen[process] = row.time, row.cpu_time
    assert len(seen) > len(HOSTS)

"""The browser's crashes reach a real collector by curl, where there is curl, as the host that they are of."""

import asyncio
import importlib.util
import json
from pathlib import Path

import pytest

from lae_monitor.demo.hosts import inventory
from lae_monitor.demo.part import happenings, parts_of
from lae_monitor.demo.story import Story
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes import demo as crashes

PARTS = tuple(parts_of(KINDS).values())

COLLECTOR = Path(__file__).parents[1] / "kinds" / "crashes" / "conftest.py"


def collector_of_the_tests():
    spec = importlib.util.spec_from_file_location("conftest_of_crashes", COLLECTOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def collector(tmp_path):
    from lae_monitor.config.settings import Fleet

    with collector_of_the_tests()._running(tmp_path / "archive", fleet=Fleet(inventory=inventory())) as found:
        yield found


def crash_of_a_browser(story):
    whole = happenings(PARTS, story, story.begins, story.ends + 6 * 3600)
    return next(item for item in whole if item.what == "crash" and item.host.work == "gateway")


@pytest.mark.skipif(not crashes.CURL, reason="there is no curl here")
def test_it_arrives_by_curl_from_the_address_of_its_host(collector):
    story = Story(1, 1_790_000_000.0, 6)
    happening = crash_of_a_browser(story)
    answer = asyncio.run(crashes.send(story, happening, f"127.0.0.1:{collector.port}"))
    assert answer.status == 200
    files = collector.stored(answer.text.splitlines()[0] + "\n")
    raw = json.loads(files["raw_crash.json"])
    assert (raw["ProductName"], raw["metadata"]["host"]) == ("Gridbrowser", happening.host.name)
    assert raw["metadata"]["dump_checksums"]["upload_file_minidump"] == raw["MinidumpSha256Hash"]
    assert (raw["metadata"]["payload"], raw["metadata"]["filenames"]["upload_file_minidump"]) == (
        "json",
        "minidump.dmp",
    )
    assert crashes.client() == crashes.CURL


def test_without_curl_it_arrives_all_the_same(collector, monkeypatch):
    monkeypatch.setattr(crashes, "CURL", "")
    story = Story(1, 1_790_000_000.0, 6)
    answer = asyncio.run(crashes.send(story, crash_of_a_browser(story), f"127.0.0.1:{collector.port}"))
    assert answer.status == 200
    assert crashes.client() == "a client of the demo's own"

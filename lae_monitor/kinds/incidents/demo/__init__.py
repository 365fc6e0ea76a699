"""Incidents in the pretend fleet.

mishaps     what goes wrong      node        who tells it: a node like those of Tahoe-LAFS
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from lae_monitor.config import Settings
from lae_monitor.demo.hosts import GATEWAY, HOSTS, SICK, Host
from lae_monitor.demo.part import Part, by_chance, of_story
from lae_monitor.demo.posts import Answer
from lae_monitor.demo.story import Happening, Story

AT: Final = (0.50, 0.59, 0.66, 0.72, 0.77)  # shares of the history, on the host with a story
CHANCE: Final = {"storage": 0.03, "gateway": 0.08}  # within a slot, by what the host does


class Incidents(Part):
    what = "incident"
    called = "incidents"
    port = 3118

    def __init__(self, settings: Settings, story: Story, fleet: Path) -> None:
        super().__init__(settings, story, fleet)
        registry = import_module("lae_monitor.net.furls.registry").Registry(settings, "incidents")
        make = import_module(f"{__name__}.node").Node  # imports Foolscap, which takes the reactor that runs
        self._nodes = {
            host: make(story, host, fleet, registry.register(host.name, host.cluster).furl)
            for host in HOSTS
            if host.is_node
        }

    @staticmethod
    def configuration(port: int) -> str:
        return f'listen = "tcp:{port}:interface=127.0.0.1"\nlocation = "tcp:127.0.0.1:{port}"'

    @staticmethod
    def address(section: Any) -> str:
        return str(section.location)

    @classmethod
    def entrance(cls, section: Any) -> str:
        return f"Foolscap at {section.location}, a FURL per host"

    @classmethod
    def happenings(cls, story: Story, start: float, end: float) -> Iterator[Happening]:
        def chance(host: Host, time: float) -> float:
            """The gateway misses the shares of the host with a story, once that is silent."""
            return CHANCE[host.work] * (3 if host == GATEWAY and story.is_silent(SICK, time) else 1)

        yield from of_story(cls.what, AT, story, start, end)
        yield from by_chance(cls.what, chance, story, start, end)

    def remember(self, happening: Happening) -> bool:
        self._nodes[happening.host].remember(happening)
        return True

    def start(self, host: Host) -> None:
        if host in self._nodes:
            self._nodes[host].start()

    def stop(self, host: Host) -> None:
        if host in self._nodes:
            self._nodes[host].stop()

    async def tell(self, happening: Happening) -> Answer | None:
        self._nodes[happening.host].suffer(happening)
        return Answer(200, "")

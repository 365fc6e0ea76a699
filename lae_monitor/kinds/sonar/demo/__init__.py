"""Samples in the pretend fleet. What the passwords are, as nodes have them, is in the fleet's passwords.txt.

processes   what runs on a host      samples     what Sonar prints of it, and how that is sent
"""

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from lae_monitor.archive.small_files import make_folder, replace
from lae_monitor.config import Settings
from lae_monitor.core.secrets import Secret
from lae_monitor.core.time import MINUTE
from lae_monitor.demo.hosts import CLUSTERS
from lae_monitor.demo.part import Part, at_intervals
from lae_monitor.demo.posts import Answer, send
from lae_monitor.demo.story import Happening, Story
from lae_monitor.kinds.sonar.demo.samples import post
from lae_monitor.net.passwords import hash_password

PASSWORDS: Final = "passwords.txt"  # a file's name
EVERY: Final = 5 * MINUTE  # in the history, as production nodes do
LIVE_EVERY: Final = MINUTE  # a demo is watched for minutes, not for days


class Samples(Part):
    what = "samples"
    called = "posts of samples"
    port = 8086

    def __init__(self, settings: Settings, story: Story, fleet: Path) -> None:
        super().__init__(settings, story, fleet)
        self._passwords = _read(fleet / PASSWORDS)

    @staticmethod
    def prepare(state: Path, fleet: Path) -> None:
        path = fleet / PASSWORDS
        if not path.exists():
            replace(path, "".join(f"{cluster}:{secrets.token_urlsafe(18)}\n" for cluster in CLUSTERS).encode())
        hashed = "".join(f"{cluster}:{hash_password(word.reveal())}\n" for cluster, word in _read(path).items())
        credentials = state / "credentials" / "sonar"
        make_folder(credentials)
        replace(credentials / "exfil-auth.txt", hashed.encode())

    @staticmethod
    def address(section: Any) -> str:
        return f"http://{section.listen}/sonar-freecsv?cluster=NAME"

    @classmethod
    def happenings(cls, story: Story, start: float, end: float) -> Iterable[Happening]:
        return at_intervals(cls.what, EVERY, LIVE_EVERY, story, start, end)

    async def tell(self, happening: Happening) -> Answer | None:
        address, password = str(self.settings.gatherers["sonar"].listen), self._passwords[happening.host.cluster]
        return await send(post(self.story, happening.host, happening.time, address, password))


def _read(path: Path) -> dict[str, Secret]:
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {cluster: Secret(word) for cluster, _, word in pairs}

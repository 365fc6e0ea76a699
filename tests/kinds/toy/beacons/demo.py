"""Hosts of the pretend fleet that are also ships."""

from base64 import b64encode

from lae_monitor.archive.small_files import make_folder, replace
from lae_monitor.core.time import HOUR, MINUTE, format_time
from lae_monitor.demo.hosts import SICK
from lae_monitor.demo.part import Part, at_intervals
from lae_monitor.demo.posts import Post, send
from lae_monitor.net.passwords import hash_password

PASSWORD = "ahoy"


class Beacons(Part):
    what = "beacon"
    called = "beacons"
    port = 4711
    to_try = (("beacon ports", "where the ships lie"),)

    @staticmethod
    def prepare(state, fleet):
        folder = state / "credentials" / "beacons"
        make_folder(folder)
        replace(folder / "ships.txt", f"{SICK.name}:{hash_password(PASSWORD)}\n".encode())

    @staticmethod
    def address(section):
        return f"http://{section.listen}/beacon"

    @classmethod
    def happenings(cls, story, start, end):
        return (one for one in at_intervals(cls.what, HOUR, MINUTE, story, start, end) if one.host == SICK)

    async def tell(self, happening):
        proof = b64encode(f"{happening.host.name}:{PASSWORD}".encode()).decode()
        line = f"{format_time(happening.time)} info {happening.dice.choice(('Oslo', 'Bergen'))}"
        address = str(self.settings.gatherers["beacons"].listen)
        return await send(Post(address, "/beacon", {"Authorization": f"Basic {proof}"}, line.encode()))

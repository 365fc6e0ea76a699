"""What `check config` asks, why a beacon is not taken, and who may send one."""

from lae_monitor.core.kind import Option, Tokens
from lae_monitor.core.refusals import Reason

REASONS = (Reason("beacon_adrift", 422, "the beacon names no port"),)


def check(settings):
    if not settings.gatherers["beacons"].listen.is_loopback:
        yield "gatherers.beacons.listen: ships are on this host only"


class _Ships(Tokens):
    whose = "ship"
    called = "password of the ship"
    options = (Option("--ship", "the ship that may send with it", "NAME"),)
    if_none = "beacons are refused"

    def file(self, settings):
        return settings.credentials / "beacons" / "ships.txt"

    def user(self, _settings, given):
        if not given["ship"]:
            raise ValueError("beacons: say for which ship")
        return given["ship"]

    def following(self, user):
        return f"send it as {user}:PASSWORD"

    def left_without(self, _settings, _user):
        return "can send no beacon"


TOKENS = _Ships()

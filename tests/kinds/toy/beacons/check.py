"""What `check config` asks, and why a beacon is not taken."""

from lae_monitor.core.refusals import Reason

REASONS = (Reason("beacon_adrift", 422, "the beacon names no port"),)


def check(settings):
    if not settings.gatherers["beacons"].listen.is_loopback:
        yield "gatherers.beacons.listen: ships are on this host only"

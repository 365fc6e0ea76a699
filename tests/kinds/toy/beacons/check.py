"""What `check config` asks."""


def check(settings):
    if not settings.gatherers["beacons"].listen.is_loopback:
        yield "gatherers.beacons.listen: ships are on this host only"

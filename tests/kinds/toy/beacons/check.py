"""What `check config` asks, who may send one, and who is to."""

from lae_monitor.core.kind import Contact, Contacts, Option, Tokens
from lae_monitor.fleet.registering import STORAGESERVER, NodeOption
from lae_monitor.fleet.running import runs
from lae_monitor.net.passwords import Passwords

FERRY = NodeOption("client", "ferry.furl", (STORAGESERVER,))  # by which nodes on ships find the gatherer


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


def contacts(settings, _now):
    """Every ship with a password is to send."""
    passwords = Passwords(TOKENS.file(settings), if_missing=None)
    passwords.refresh()
    running = runs(settings.state.path, "gather-beacons")
    return Contacts(running, [Contact(settings.fleet.name, ship, True, None) for ship in passwords.users])

"""What `check config` asks, who may send one, and who is to."""

from lae_monitor.alerts.alarm import Condition
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


async def troubles(store, now):
    """Ships that lie in no port."""
    rows = await store.query("SELECT host, argMax(port, time) AS last FROM {lae}.berths GROUP BY host")
    return {
        f"afloat {row['host']}": Condition(
            rule="host in trouble",
            about=f"afloat {row['host']}",
            cluster="lae",
            host=row["host"],
            level="error",
            title=f"{row['host']} is afloat",
            text="It lies in no port.",
            since=now,
        )
        if row["last"] == "Sea"
        else f"it lies in {row['last']}"
        for row in rows
    }

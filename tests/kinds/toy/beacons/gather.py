"""POST /beacon, with the password of the ship: a line `TIME LEVEL PORT`, kept in beacons/<cluster>/<day>/<ship>.txt.

What is loaded in a port goes into the journal.
"""

from beacons.check import TOKENS
from lae_monitor import __version__
from lae_monitor.core.names import HostName, row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import day_path, parse_time
from lae_monitor.net.http import Route, Router, operations, reply, serve
from lae_monitor.net.passwords import Passwords

LOADED = {"Bergen": "salt,stockfish"}


async def gather(context):
    passwords = Passwords(TOKENS.file(context.settings))

    async def take(request):
        try:
            ship = HostName(passwords.user_of(request.headers.get("authorization")))
            line = await request.body(1024)
            time, _, port = line.decode().strip().split(" ", 2) if line.count(b" ") == 2 else ("", "", "")
            if not port:
                raise Refused("beacon_adrift", raw=line)
            path = f"beacons/{context.cluster}/{day_path(parse_time(time))}/{ship}.txt"
            await context.archive.append(path, line.strip() + b"\n")
            if port in LOADED:
                key = row_key("beacon", context.cluster, ship, time, port).hex()
                await context.journal.write("cargo", cluster=context.cluster, host=ship, key=key, goods=LOADED[port])
        except Refused as refused:
            await context.journal.write(
                "receipt", kind="beacons", cluster=context.cluster, host="", peer=request.peer, verdict="refused",
                reason=refused.code,
            )  # fmt: skip
            await reply(request.send, refused.status, str(refused))
        else:
            await reply(request.send, 200)

    app = Router(
        [
            Route(path="/beacon", methods={"POST": take}),
            *operations(context.archive, __version__, access=context.access),
        ]
    )
    listen = context.settings.gatherers["beacons"].listen
    await serve(app, listen.host, listen.port, stop=context.stop, ready=context.ready)

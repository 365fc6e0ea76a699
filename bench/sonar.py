"""Posts of samples that are acknowledged, each durable, against a bare loop that syncs as much."""

import asyncio
import statistics

from bench import floor
from bench.figures import Figure, sized
from bench.load import Connection, as_fast_as_possible
from bench.monitor import monitor, scratch

HOSTS = 200
LINES = 10  # of one post
CONNECTIONS = 32
SECONDS = sized(2.0, 0.2)  # of one turn
TURNS = sized(3, 1)  # by turns with the floor


def run() -> list[Figure]:
    bodies = [_body(host) for host in range(HOSTS)]

    async def post(connection: Connection, number: int) -> None:
        status, answer = await connection.post(
            "/sonar-freecsv?cluster=bench.example", "text/csv", bodies[number % HOSTS]
        )
        if status != 200:
            raise RuntimeError(f"{status} {answer!r}")

    ours, bare = [], []
    with scratch() as state, monitor(state, "sonar") as running:
        for turn in range(TURNS):
            place = state / f"floor-{turn}"
            place.mkdir()
            bare.append(floor.appends(place, len(bodies[0]), SECONDS))
            ours.append(asyncio.run(as_fast_as_possible(running.sonar, CONNECTIONS, SECONDS, post)))
    rate = statistics.median(ours)
    ratio = statistics.median(mine / other for mine, other in zip(ours, bare, strict=True))
    return [
        Figure("sonar: posts acknowledged", rate, "/s", note=f"{LINES} lines each, {CONNECTIONS} connections"),
        Figure("sonar: times a bare write+fdatasync loop", ratio, "x", note=f"{statistics.median(bare):,.0f}/s"),
    ]


def _body(host: int) -> bytes:
    head = f"v=0.13.2,time=2026-11-22T10:00:00+00:00,host=c{host}.bench.example,user=ec-anna"
    return "".join(
        f"{head},cmd=gmx_mpi,job={1300000 + line},pid={4000 + line},cpu%=98.2,cpukib=20480000,"
        f"rssanonkib=14680064,cputime_sec={7000 + line}\n"
        for line in range(LINES)
    ).encode()

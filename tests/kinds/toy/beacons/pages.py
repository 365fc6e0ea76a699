"""/ports.json: how many beacons each port had; and what a ship's page says of the ship."""

from lae_monitor.query.hosts import Load, Node
from lae_monitor.web.answering import as_json, page, route


async def ports(site, _request):
    rows = await site.store.query("SELECT port, count() AS beacons FROM {lae}.berths FINAL GROUP BY port")
    return {row["port"]: row["beacons"] for row in rows}


async def shown(site, request):
    return page(site, "beacons/ports.html", ports=await ports(site, request))


def routes(site):
    return [route(site, "/ports.json", as_json(ports)), route(site, "/ports", shown)]


async def about(_store, event, _now):
    return f"seen from {event.host}"


async def node(_store, _cluster, host):
    return Node(description=f"the raft {host}", cores=9, memory_kib=0, gpu_cards=0, gpumem_kib=0)


async def load(_store, _cluster, _host, since, until, bucket):
    pieces = int((until - since) / bucket) + 1
    return Load(since=since, bucket=bucket, cores=[3.0] * pieces, resident_kib=[1] * pieces)

"""/ports.json: how many beacons each port had."""

from lae_monitor.web.route import as_json, route


async def ports(site, _request):
    rows = await site.store.query(
        "SELECT `group` AS port, uniqExact(key) AS beacons FROM {lae}.events WHERE kind = 'beacon' GROUP BY port"
    )
    return {row["port"]: row["beacons"] for row in rows}


def routes(site):
    return [route(site, "/ports.json", as_json(ports))]

"""A line -> an event, and a row of its own table."""

from hashlib import sha256

from beacons.rows import Berth
from lae_monitor.core.names import row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, cut_lines
from lae_monitor.core.time import parse_time

VERSION = 1
WHOLE = False


def cut(_path, data):
    return cut_lines(data)


def read(span, data):
    cluster, ship, offset = span.path.split("/")[1], span.path.rpartition("/")[2].removesuffix(".txt"), span.start
    for line in data.splitlines(keepends=True):
        try:
            time, level, port = line.decode().split()
        except ValueError as error:
            raise Refused("unreadable", str(error)) from error
        yield Event(
            kind="beacon", cluster=cluster, host=ship, time=parse_time(time), received=0.0,
            id=f"{span.path}:{offset}", key=row_key("beacon", cluster, ship, time, port), level=level,
            title=f"{ship} lies in {port}", group=f"port {port}",
            attrs={"port": port, "lantern": "lamp 2", "was": f"harbour {port}", "digest": sha256(port.encode()).hexdigest()},
            file=span.path, offset=offset, length=len(line),
        )  # fmt: skip
        yield Berth(
            cluster=cluster,
            host=ship,
            time=parse_time(time),
            port=port,
            file=span.path,
            offset=offset,
            length=len(line),
        )
        offset += len(line)

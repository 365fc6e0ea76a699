# mypy: disable-error-code="no-untyped-call"
"""Nodes that publish incidents as Tahoe-LAFS nodes do: each a Tub with a log, an incident reporter and a log publisher.

Import this only after `tubs.start_reactor()`. Where a node keeps its incidents:

    <folder>/<host>/node.pem            its certificate
    <folder>/<host>/incidents/          what its reporter wrote, NAME.flog.bz2; sent when the gatherer asks
"""

import base64
import bz2
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from foolscap import pb
from foolscap.logging import app_versions, flogfile, levels
from foolscap.logging.log import FoolscapLogger

from lae_monitor.core.secrets import Furl
from lae_monitor.demo.hosts import Host
from lae_monitor.demo.story import Happening, Story
from lae_monitor.kinds.incidents.demo.mishaps import incident_of

PLACE: Final = "127.0.0.1:1"  # a Tub has to say where it is before it connects to anything; nobody calls this one


class Node:
    """One pretend node.

    Args:
        folder: where it lives.
        furl: the gatherer's, as this host was given it.
    """

    def __init__(self, story: Story, host: Host, folder: Path, furl: Furl) -> None:
        self.host = host
        self._story = story
        self._incidents = folder / host.name / "incidents"
        self._incidents.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._logger = FoolscapLogger()
        self._logger.setLogDir(str(self._incidents))
        self._tub = pb.Tub(certFile=str(folder / host.name / "node.pem"))
        self._tub.logger = self._logger
        self._tub.setLocation(PLACE)
        self._tub.setOption("log-gatherer-furl", furl.reveal())

    def start(self) -> None:
        """Connects to the gatherer, and again whenever the connection is lost."""
        self._tub.startService()

    def stop(self) -> None:
        """Falls silent; does nothing when it is silent already."""
        if self._tub.running:
            self._tub.stopService()

    def remember(self, happening: Happening) -> None:
        """Puts an incident of the past where its reporter would have put it then: the gatherer catches up with it."""
        incident = incident_of(self._story, happening)
        incarnation = (f"{happening.dice.getrandbits(64):016x}", None)
        first = happening.dice.randrange(2_000, 60_000)
        events = [
            {**event, "num": first + number, "incarnation": incarnation}
            for number, event in enumerate([*incident.before, incident.trigger, *incident.after])
        ]
        path = self._incidents / f"{_name(happening)}.flog.bz2"
        with bz2.BZ2File(path, "wb") as file:
            file.write(flogfile.MAGIC)
            trigger = events[len(incident.before)]
            flogfile.serialize_header(
                file, "incident", trigger=trigger, versions=app_versions.versions, pid=702 + self.host.number
            )
            for event in events:
                flogfile.serialize_wrapper(file, event, from_="local", rx_time=happening.time)

    def suffer(self, happening: Happening) -> None:
        """Something goes wrong now: logged, and recorded by the reporter for some seconds before it is announced."""
        incident = incident_of(self._story, happening)
        for event in [*incident.before, incident.trigger]:
            self._logger.msg(**event)


def _name(happening: Happening) -> str:
    when = datetime.fromtimestamp(happening.time, UTC).strftime("%Y-%m-%d--%H-%M-%SZ")
    unique = base64.b32encode(happening.dice.randbytes(4)).decode().lower().rstrip("=")
    return f"incident-{when}-{unique}"


assert levels.WEIRD == 30  # mishaps.py, which is loaded without Foolscap, relies on it

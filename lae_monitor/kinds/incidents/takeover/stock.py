"""Takes the place of flogtool's incident gatherer: its certificate and its FURL become ours, and no node is told anything.

    DIR/gatherer.pem, log_gatherer.furl     who it is, and the one FURL that all its nodes have
    DIR/port, location                      where it listens, and where its FURL says that it is reached
    DIR/classify_*.py                       its classifiers

DIR is only read. Source of the layout: what `flogtool create-incident-gatherer` of Foolscap 24.9 makes; see
docs/migrating-from-flogtool.md.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.kinds.incidents.config import Settings
from lae_monitor.net.furls.files import OPEN
from lae_monitor.net.furls.registry import adopt_furl, read_text
from lae_monitor.net.tubs.identity import CERTIFICATE, adopt, parse_listen, parse_location, tub_id

PID: Final = "twistd.pid"


class StillRunning(Exception):
    """flogtool's gatherer runs there, as the process that the sentence names."""


class Stock(NamedTuple):
    """What there is of flogtool's gatherer. `listen` and `location` are "" where an old one does not say."""

    folder: Path
    furl: Furl
    listen: str
    location: str
    classifies: bool

    @property
    def hints(self) -> str:
        """Where the FURL leads."""
        return ",".join(self.furl.hints)


class Taken(NamedTuple):
    """The settings with which its place is taken, and what its owner has to know."""

    settings: Settings
    notes: list[str]


def look(folder: Path) -> Stock:
    """What `folder` holds.

    Raises:
        StillRunning
        Refused: `bad_config`: no such folder, or not one of a gatherer that has ever run.
    """
    if not folder.is_dir():
        raise Refused("bad_config", f"{folder}: there is no such folder")
    pem, text = read_text(folder / CERTIFICATE), read_text(folder / OPEN)
    if not pem or not text:
        missing = CERTIFICATE if not pem else OPEN
        raise Refused("bad_config", f"{folder / missing}: missing; a gatherer of flogtool's that ever ran has it")
    try:
        furl = Furl(text)
        own = tub_id(pem.encode("ascii"))
    except Refused as refused:
        raise Refused("bad_config", f"{folder / OPEN}: no FURL") from refused
    except ValueError as error:
        raise Refused("bad_config", f"{folder / CERTIFICATE}: no certificate in PEM form") from error
    if furl.tub_id != own:
        raise Refused("bad_config", f"{folder / OPEN}: the FURL of another gatherer than {CERTIFICATE} beside it")
    if process := _process(folder):
        raise StillRunning(f"flogtool's gatherer still runs in {folder}, as process {process}")
    listen, location = read_text(folder / "port").strip(), read_text(folder / "location").strip()
    return Stock(folder, furl, listen, location, any(folder.glob("classify_*.py")))


def take_over(stock: Stock, credentials: Path, settings: Settings, given: Collection[str]) -> Taken:
    """Makes its certificate and its FURL ours. Done again, it changes nothing.

    Args:
        credentials: the folder of this kind's.
        settings: as configured.
        given: the keys of it that the configuration says; for others, what the folder says counts.

    Raises:
        Refused: `bad_config`: we are another tub, or have another FURL, already; or nobody says where to listen.
    """
    ours = msgspec.structs.replace(
        settings,
        unregistered=True,
        listen=settings.listen if "listen" in given else _checked(stock, "listen", stock.listen),
        location=settings.location if "location" in given else _checked(stock, "location", stock.location),
        classifiers=settings.classifiers or (str(stock.folder.absolute()) if stock.classifies else ""),
    )
    adopt(credentials / CERTIFICATE, stock.folder / CERTIFICATE)
    adopt_furl(credentials / OPEN, Furl.build(stock.furl.tub_id, ours.location, stock.furl.swissnum.reveal()))
    return Taken(ours, list(_notes(stock, settings, ours)))


def _notes(stock: Stock, settings: Settings, ours: Settings) -> list[str]:
    notes = []
    pem = stock.folder / CERTIFICATE
    if pem.stat().st_mode & 0o077:
        notes.append(
            f"{pem} holds a private key and can be read by others; ours is 0600. Anyone who read it can take our place: "
            f"chmod 600 {pem}"
        )
    if ours.location != stock.hints:
        notes.append(
            f"nodes go to {stock.hints or 'no address'} by the FURL that they have, and new FURLs name {ours.location}: "
            "both have to lead here"
        )
    if keep := [
        f"{key} = {msgspec.json.encode(value).decode()}"
        for key in ("listen", "location", "unregistered", "classifiers")
        if (value := getattr(ours, key)) != getattr(settings, key)
    ]:
        notes.append("\n    ".join(["to have it so without --stock, write into [gatherers.incidents]:", *keep]))
    return notes


def _checked(stock: Stock, key: str, text: str) -> str:
    """What the folder says for `key`, if we understand it.

    Raises:
        Refused: `bad_config`.
    """
    file = stock.folder / ("port" if key == "listen" else key)
    if not text:
        ports = [port for _, port in parse_location(stock.hints)] if stock.hints else []
        leads = f"its FURL leads to {stock.hints}" if stock.hints else "its FURL leads nowhere"
        shown = (f"tcp:{ports[0]}" if ports else "tcp:PORT") if key == "listen" else (stock.hints or "tcp:HOST:PORT")
        raise Refused(
            "bad_config",
            f"{file}: missing, as flogtool of long ago left it (ObsoleteGatherer); {leads}: "
            f'set gatherers.incidents.{key}, such as "{shown}"',
        )
    try:
        (parse_listen if key == "listen" else parse_location)(text)
    except Refused as refused:
        raise Refused("bad_config", f"{file}: {refused.detail}; or set gatherers.incidents.{key} yourself") from refused
    return text


def _process(folder: Path) -> int | None:
    """The gatherer that runs there; a number that another program has by now is none."""
    text = read_text(folder / PID).strip()
    if not text.isdecimal():
        return None
    try:
        command = Path("/proc", text, "cmdline").read_bytes()
    except OSError:
        return None
    return int(text) if b"twistd" in command or b"gatherer.tac" in command else None

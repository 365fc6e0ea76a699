"""Programs with incidents to report, many in one process: python -m bench.publishers FOLDER, which holds tubs.json.

    [{"number": 1, "furl": "pb://...", "incidents": "folder with their files"}, ...]

Certificates are kept in certificates/, in the folder that LAE_BENCH_DIR names. Prints "ready", and connects all of them when
a line comes on standard input; ends with it. In a process of its own: to send costs as much as to gather.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foolscap.api import Tub
from foolscap.logging.log import FoolscapLogger
from twisted.internet import reactor, stdio
from twisted.protocols.basic import LineReceiver

from bench.monitor import base


def _certificate(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(make())
        part.rename(path)
    return path.read_bytes()


def main(folder: Path) -> None:
    tubs = []
    for one in json.loads((folder / "tubs.json").read_text()):
        path = base() / "certificates" / f"{one['number']}.pem"
        tub = Tub(certData=_certificate(path, lambda: Tub().getCertData()))
        logger = FoolscapLogger()
        logger.setLogDir(one["incidents"])
        tub.logger = logger
        tub.setLocation("tcp:127.0.0.1:1")
        tub.startService()
        tubs.append((tub, one["furl"]))

    class Commands(LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:  # noqa: ARG002, N802
            for tub, furl in tubs:
                tub.setOption("log-gatherer-furl", furl)

        def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002, N802
            os._exit(0)

    stdio.StandardIO(Commands())
    print("ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Clients that POST samples as production nodes do: `sonar ps | curl --data-binary @- .../sonar-freecsv?cluster=NAME`.

The format is free CSV of Sonar 0.13: fields `name=value` in any order, those with their default value left out.
"""

import base64
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from lae_monitor.core.secrets import Secret
from lae_monitor.demo.hosts import Host
from lae_monitor.demo.posts import Post
from lae_monitor.demo.story import Story
from lae_monitor.kinds.sonar.demo.processes import Process, running

VERSION: Final = "0.13.2"
KIB_IN_GIB: Final = 1024 * 1024
EPOCH: Final = 1577836800  # 2020-01-01: from when Sonar counts the time of boot


def samples(story: Story, host: Host, time: float) -> str:
    """What one run of Sonar on `host` prints; a heartbeat when nothing runs."""
    when = datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
    head = [f"v={VERSION}", f"time={when}", f"host={host.name}"]
    processes = running(story, host, time)
    if not processes:
        return ",".join([*head, "user=_sonar_", "cmd=_heartbeat_"]) + "\n"
    epoch = int(story.begins) - (20 + host.number) * 86400 - EPOCH
    return "".join(",".join([*head, *_fields(process, host, epoch, time)]) + "\n" for process in processes)


def _fields(process: Process, host: Host, epoch: int, time: float) -> list[str]:
    seconds = max(0.0, time - process.began)
    kib = int(process.gib * KIB_IN_GIB)
    values: dict[str, str | float] = {
        "job": process.job,
        "epoch": epoch if host.is_node else 0,  # batch jobs need none
        "pid": process.pid,
        "ppid": 1 if process.pid else 0,
        "cpu%": round(process.cpu, 1),
        "cpukib": int(kib * 1.4),
        "rssanonkib": kib,
        "gpu%": round(process.gpu, 1),
        "gpumem%": round(process.gpu * 0.6, 1),
        "cputime_sec": int(process.mean / 100 * seconds),
        "rolledup": process.rolled_up,
    }
    fields = [f"user={process.user}", f"cmd={process.cmd}"]
    fields += [f"{name}={value}" for name, value in values.items() if value]
    if process.gpus != "none":
        fields.append(f'"gpus={process.gpus}"' if "," in process.gpus else f"gpus={process.gpus}")
    return fields


def post(story: Story, host: Host, time: float, address: str, password: Secret) -> Post:
    """The request that brings the samples of `host` to the data logger at `address`."""
    proof = base64.b64encode(f"{host.cluster}:{password.reveal()}".encode()).decode()
    return Post(
        address=address,
        target=f"/sonar-freecsv?cluster={quote(host.cluster)}",
        headers={"Content-Type": "text/csv", "Authorization": f"Basic {proof}", "User-Agent": "curl/7.88.1"},
        body=samples(story, host, time).encode(),
    )

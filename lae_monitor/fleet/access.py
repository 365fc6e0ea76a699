"""How hosts are reached by SSH, and the connection that is made of that: by fabric, so ssh's own configuration holds."""

import logging
from pathlib import Path
from typing import Any, NamedTuple


class Access(NamedTuple):
    """How hosts are reached. `timeout`: seconds for a connection, and for each answer. `sudo`: works on files as root."""

    user: str = "customer"
    port: int = 22
    identity: Path | None = None  # else the agent's keys, and those in ~/.ssh
    known_hosts: Path = Path("~/.ssh/known_hosts")
    accept_new: bool = False
    timeout: float = 30.0
    sudo: bool = False


def connection(address: str, access: Access) -> Any:
    """A fabric connection, not yet open, that believes no host key but known ones; of jump hosts neither."""
    from fabric import Config, Connection  # noqa: PLC0415 - takes a third of a second

    from lae_monitor.fleet.hostkeys import believe  # noqa: PLC0415

    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # every error of it becomes a sentence here
    config = Config(lazy=True)  # no fabric.yaml of anybody, but ssh's own
    config.load_ssh_config()
    limits = dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), access.timeout)
    own = {"allow_agent": access.identity is None, "look_for_keys": access.identity is None}
    keys = {"key_filename": [str(access.identity)]} if access.identity is not None else {}
    made = Connection(
        address,
        user=access.user,
        port=access.port,
        config=config,
        connect_timeout=max(round(access.timeout), 1),
        connect_kwargs={**limits, **own, **keys},
    )
    hop = made
    while hop is not None and not isinstance(hop, str):  # text: a ProxyCommand, which checks nothing that we could
        factory = believe(hop.client, hop.host, hop.port, access.known_hosts.expanduser(), accept_new=access.accept_new)
        hop.connect_timeout = made.connect_timeout
        hop.connect_kwargs = {**limits, **hop.connect_kwargs, "transport_factory": factory}
        hop = hop.gateway
    return made

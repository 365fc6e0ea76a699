"""The lab's network: a public one, where nodes are, and a private one behind address translation. No way leads out of it.

    10.77.0.0/24  public    the controller is .1, nodes are .11 and up, and .200 and up stand for the hosts of the private one
    10.78.0.0/24  private   the controller is .1, hosts behind translation are .11 and up

Who connects to a public address on a forwarded port arrives at the private host with his own address as the source. The
private host's own connections outward come from its public address, as a router would do it; nodes know no way to 10.78.
No host has a default route, nor has the controller: what is not in the lab is unreachable, at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lab_namespaces import command, ip
from lab_places import Places

if TYPE_CHECKING:
    from lab_hosts import Host

PUBLIC = "10.77.0"
PRIVATE = "10.78.0"
FIRST_HOST = 11
FIRST_TRANSLATED = 200  # 10.77.0.200 stands for 10.78.0.11
HOSTS = 50  # of each kind; so the three ranges do not touch

# One rule in each chain for each translated host. Numbers, since not every chain knows its priority by name.
TRANSLATION = """
table ip lab {{
    chain arriving {{
        type nat hook prerouting priority -100
        {forwarded}
    }}
    chain own {{
        type nat hook output priority -100
        {forwarded}
    }}
    chain leaving {{
        type nat hook postrouting priority 100
        ip saddr {private}.0/24 ip daddr {private}.0/24 ct status dnat masquerade
        {outward}
    }}
    chain between {{
        type filter hook forward priority 0; policy drop
        ct state established,related accept
        ct status dnat accept
        iifname "private" oifname "public" accept
        reject with icmp type admin-prohibited
    }}
    chain to_the_controller {{
        type filter hook input priority 0; policy accept
        ip daddr {{ {standing} }} ct state new reject with tcp reset
    }}
}}
"""

# A machine may let its bridges ask the rules for routed traffic; then frames between neighbours would be rejected as well.
ROUTE = """
for each in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$each" ] || echo 0 > "$each"; done
echo 1 > /proc/sys/net/ipv4/ip_forward
"""


def link(host: str) -> str:
    """The controller's end of the host's cable."""
    return f"to-{host}"


def addresses(number: int, *, nat: bool) -> tuple[str, str]:
    """Where the controller, and where the other hosts reach the host `number` of its kind, from 0."""
    if nat:
        return f"{PRIVATE}.{FIRST_HOST + number}", f"{PUBLIC}.{FIRST_TRANSLATED + number}"
    return (f"{PUBLIC}.{FIRST_HOST + number}",) * 2


def make(places: Places, hosts: Iterable[Host]) -> None:
    """Bridges, cables, addresses and translation."""
    hosts = list(hosts)
    lines = ["link set lo up"]
    for bridge, net in (("public", PUBLIC), ("private", PRIVATE)):
        lines += [
            f"link add {bridge} type bridge",
            f"link set {bridge} addrgenmode none",
            f"addr add {net}.1/24 dev {bridge}",
            f"link set {bridge} up",
        ]
    for host in hosts:
        lines += [
            f"link add {link(host.name)} type veth peer name eth0 netns {places.network_of(host.name)}",
            f"link set {link(host.name)} addrgenmode none",
            f"link set {link(host.name)} master {'private' if host.plan.nat else 'public'} up",
        ]
        if host.plan.nat:
            lines.append(f"addr add {host.public_address}/32 dev public")
    ip(lines, places.network)
    for host in hosts:
        own = [
            "link set lo up",
            "link set eth0 addrgenmode none",
            f"addr add {host.address}/24 dev eth0",
            "link set eth0 up",
        ]
        if host.plan.nat:
            own.append(f"route add {PUBLIC}.0/24 via {PRIVATE}.1")
        ip(own, places.network_of(host.name))
    translated = [host for host in hosts if host.plan.nat]
    if translated:
        command(*places.inside(), "sh", "-c", ROUTE)
        command(*places.inside(), "nft", "-f", "-", text=_rules(translated), what="nft")


def _rules(hosts: list[Host]) -> str:
    forwarded = [
        f"ip daddr {host.public_address} tcp dport {{ {', '.join(map(str, host.plan.ports))} }} dnat to {host.address}"
        for host in hosts
        if host.plan.ports
    ]
    outward = [f"ip saddr {host.address} ip daddr {PUBLIC}.0/24 snat to {host.public_address}" for host in hosts]
    return TRANSLATION.format(
        forwarded="\n        ".join(forwarded),
        outward="\n        ".join(outward),
        standing=", ".join(host.public_address for host in hosts),
        private=PRIVATE,
    )


def cut(places: Places, host: str) -> None:
    """As if the cable were pulled: what is sent is lost, and nobody is told.

    Only who has not talked to the host for a minute or so learns, after three seconds, that there is no way to it.
    """
    ip([f"link set {link(host)} down"], places.network)


def heal(places: Places, host: str) -> None:
    ip([f"link set {link(host)} up"], places.network)

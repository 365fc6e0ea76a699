"""Connections that name no FURL of ours do not stay on the Foolscap port, and keep no node and no file out."""

import os
import re
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lae_monitor.net.connections import MAX_NEW_OF_PEER

PATIENCE = 60.0
HELLO = b"GET /id/"  # how Foolscap's negotiation begins
STRANGER = "127.0.0.2"  # nodes come from 127.0.0.1


@contextmanager
def idle(gatherer, count, first=b"", sources=(STRANGER,)):
    """Connections that say no more than `first`."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            source = (sources[number % len(sources)], 0)
            address = ("127.0.0.1", gatherer.port)
            made.append(stack.enter_context(socket.create_connection(address, PATIENCE, source_address=source)))
            made[-1].sendall(first)
        yield made


def ended(connection):
    """Whether the gatherer has closed it; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def has_answered(connection):
    connection.settimeout(0.001)
    try:
        return ended(connection)
    except TimeoutError:
        return False


def reports(gatherer, host):
    node = gatherer.publisher(gatherer.register(host).furl, host)
    node.await_output("asked since")
    node.send(message="seen", level=30)
    gatherer.await_names(host, 1)
    return node


def test_idle_connections_keep_no_node_out_and_are_gone_at_the_deadline(gatherer):
    gatherer.start({"net.connections.NEW_TIMEOUT": 4.0, "net.connections.MAX_NEW_OF_PEER": 30})
    with idle(gatherer, 15) as silent, idle(gatherer, 45, HELLO) as begun:
        made = [*silent, *begun]
        assert all(map(ended, made[30:])), "beyond the limit of an address: at once"
        reports(gatherer, "node1")
        assert all(map(ended, made[:30]))
    assert gatherer.process.log().count(f"foolscap: connection from {STRANGER} closed") == 1, "a line a minute"


def test_descriptors_are_left_for_the_archive_whatever_connects(gatherer):
    gatherer.start({"net.connections.NEW_TIMEOUT": PATIENCE, "net.connections.RESERVED": 150, "descriptors": 200})
    node = reports(gatherer, "node1")
    with idle(gatherer, 400, sources=[f"127.0.0.{number}" for number in range(2, 42)]) as made:
        open_ = [connection for connection in made if not has_answered(connection)]
        assert len(open_) < 100
        node.send(message="while the port is full", level=30)
        gatherer.await_names("node1", 2)
    assert "Too many open files" not in gatherer.process.log()
    assert re.search("limit of .* connections is reached|descriptors are kept for the archive", gatherer.process.log())


def test_nodes_behind_one_address_all_get_in_though_they_are_more_at_once_than_its_limit(gatherer):
    """Those that were closed come again by themselves; a restart with 2,000 is the soak test below."""
    gatherer.start({"net.connections.MAX_NEW_OF_PEER": 4})
    nodes = gatherer.publisher(gatherer.register("site").furl, count=12)
    nodes.await_output("asked since", 12)


@pytest.mark.soak
def test_two_thousand_nodes_behind_one_address_are_connected_two_minutes_after_a_restart(gatherer):
    count, processes = int(os.environ.get("LAE_SOAK_NODES", "2000")), 2
    assert count > MAX_NEW_OF_PEER
    gatherer.start({"net.furls.door.MAX_PEERS": count})
    furl = gatherer.register("site").furl
    logs = gatherer.folder / "fleet"
    command = [sys.executable, str(Path(__file__).parents[1] / "publisher.py"), furl.reveal()]
    fleet = [
        gatherer.run([*command, f"{logs}{number}", "", str(count // processes)], f"fleet{number}")
        for number in range(processes)
    ]
    await_connected(fleet, count, 1800)  # 2,000 certificates are made first
    gatherer.process.kill(signal.SIGKILL)
    gatherer.start({"net.furls.door.MAX_PEERS": count})
    await_connected(fleet, 2 * count, 120)


def await_connected(fleet, count, seconds):
    deadline = time.monotonic() + seconds
    while (found := sum(process.output().count("asked since") for process in fleet)) < count:
        assert time.monotonic() < deadline, f"{found} of {count}"
        time.sleep(0.2)
    print(f"{count} after {seconds - (deadline - time.monotonic()):.1f} s")

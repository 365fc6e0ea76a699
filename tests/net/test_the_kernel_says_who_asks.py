"""The account at the other end of a connection is the one that the kernel names, and nobody's where it names none."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from lae_monitor.net import peer
from lae_monitor.net.access import Access
from lae_monitor.net.http import reply

AS_OTHERS = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: connections of other accounts. Needs root")
OTHER = 31_337  # an account that has no name here

CONNECT = """
import os, socket, sys
os.setresuid(*[int(sys.argv[3])] * 3)
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
client.connect((sys.argv[1], int(sys.argv[2])))
print("connected", flush=True)
for line in sys.stdin:
    if line == "close\\n":
        client.close()
    elif line == "half\\n":
        client.shutdown(socket.SHUT_WR)
    print("done", flush=True)
"""


class Client:
    """A process of another account that connects to `address`, and does what it is told."""

    def __init__(self, address: str, port: int, user: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-Sc", CONNECT, address, str(port), str(user)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout.readline() == "connected\n"

    def tell(self, what: str) -> None:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def __enter__(self):
        return self

    def __exit__(self, *_exc) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def listening(address: str) -> socket.socket:
    return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


@contextmanager
def connected(server: str, client: str, user: int):
    """Our end of a connection, and the other one's process."""
    with listening(server) as listener, Client(client, listener.getsockname()[1], user) as other:
        accepted, _ = listener.accept()
        with accepted:
            yield accepted, other


@pytest.mark.parametrize(
    ("server", "client"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1"), ("127.0.0.1", "127.8.8.8")]
)  # fmt: skip
def test_our_own_connection_is_ours(server, client):
    with listening("0.0.0.0" if client == "127.8.8.8" else server) as listener:
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        with socket.socket(family) as connected:
            connected.connect((client, listener.getsockname()[1]))
            with listener.accept()[0] as accepted:
                assert peer.account_of(accepted) == os.geteuid()


@AS_OTHERS
@pytest.mark.parametrize(("server", "client"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])  # fmt: skip
def test_another_account_is_named_and_is_not_root_when_it_closes(server, client):
    """The kernel gives the row of a closed socket to user 0."""
    with connected(server, client, OTHER) as (accepted, other):
        assert peer.account_of(accepted) == OTHER
        other.tell("half")
        assert peer.account_of(accepted) in {OTHER, None}
        other.tell("close")
        assert peer.account_of(accepted) is None


@AS_OTHERS
def test_what_the_kernel_calls_nobody_may_be_anybody():
    with connected("127.0.0.1", "127.0.0.1", peer.OVERFLOW) as (accepted, _):
        assert peer.account_of(accepted) is None


def test_without_a_table_or_a_row_nobody_is_named(tmp_path, monkeypatch):
    with connected("127.0.0.1", "127.0.0.1", os.geteuid()) as (accepted, _):
        monkeypatch.setattr(peer, "_TABLES", tmp_path)
        assert peer.account_of(accepted) is None
        (tmp_path / "tcp").write_bytes(b"  sl  local_address rem_address\n")
        (tmp_path / "tcp6").write_bytes(b"")
        assert peer.account_of(accepted) is None


def test_a_row_is_found_among_10000():
    """Rows that begin alike, and our own end's, are not taken for it."""
    (_, row), (_, mapped) = peer._rows(("127.0.0.1", 40_000), ("127.0.0.1", 8642))
    rest = b"00000000:00000000 00:00000000 00000000 %5d        0 %d 1 0000000000000000 20 4 30 10 -1\n"
    rows = [
        peer._rows(("127.0.0.1", port), ("127.0.0.1", 8642))[0][1] + rest % (7, port) for port in range(40_001, 50_001)
    ]
    rows.insert(5_000, peer._rows(("127.0.0.1", 8642), ("127.0.0.1", 40_000))[0][1] + rest % (1, 1))
    rows.insert(9_000, row + rest % (1234, 99))
    assert peer._user(b"".join(rows), row) == 1234
    assert peer._user(b"".join(rows), mapped) is None
    closed = row + rest % (0, 0)
    assert peer._user(closed, row) is None
    assert mapped == b": 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:21C2 01 "


@AS_OTHERS
def test_a_unix_socket_tells_who_connected():
    for user in (os.geteuid(), OTHER):
        with socket.socket(socket.AF_UNIX) as listener:
            name = f"\0lae-monitor-test-{os.getpid()}-{user}"
            listener.bind(name)
            listener.listen()
            code = f"import os, socket; os.setresuid({user}, {user}, {user}); s = socket.socket(socket.AF_UNIX); s.connect({name!r}); input()"
            with subprocess.Popen([sys.executable, "-Sc", code], stdin=subprocess.PIPE) as process:
                with listener.accept()[0] as accepted:
                    assert peer.account_of(accepted) == user
                process.stdin.write(b"\n")


def test_a_connection_is_looked_up_once_and_only_when_somebody_wants_to_know(serving, exchange, monkeypatch):
    reads = []
    whole = peer._tables.read
    monkeypatch.setattr(peer._tables, "read", lambda name: reads.append(name) or whole(name))

    async def guarded(scope, receive, send):
        if scope["path"] == "/asks":
            await Access().require("operator", scope)
        await reply(send, 200, b"x")

    async def main():
        async with serving(guarded) as port:
            plain = b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await exchange(port, plain, plain.replace(b"Host", b"Connection: close\r\nHost"))
            assert reads == []
            asks = plain.replace(b"/plain", b"/asks")
            answer = await exchange(port, asks, asks, asks, plain.replace(b"Host", b"Connection: close\r\nHost"))
            assert answer.count(b"200 OK") == 4
            assert reads == ["tcp"]

    asyncio.run(main())

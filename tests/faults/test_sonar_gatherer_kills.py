"""The gatherer of samples is killed again and again while 64 clients send: no line that it acknowledged is ever lost."""

import asyncio
import base64
import os
import random
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

KILLS = int(os.environ.get("LAE_KILLS", "12"))
SEED = int(os.environ.get("LAE_SEED", "0")) or random.randrange(1, 2**32)
WORLDS = 3  # side by side, each with a folder of its own
CLIENTS = 64  # in each
HOSTS = 6
PATIENCE = 120.0  # seconds; the machine may be slow and busy
SCRIPT = Path(__file__).parent / "sonar_driver.py"
TOKEN = base64.b64encode(b"c:pw").decode()


class World:
    """One state folder, its gatherers one after the other, and what an onlooker knows of them."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.sent: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.serial = 0
        credentials = folder / "credentials" / "sonar"
        credentials.mkdir(parents=True)
        (credentials / "exfil-auth.txt").write_text("c:pw\n")
        self.time = datetime.now(UTC).isoformat(timespec="seconds")

    def post(self) -> list[bytes]:
        lines = []
        hosts = self.rng.sample(range(HOSTS), self.rng.choice((1, 1, 1, 2)))
        for _ in range(self.rng.choice((1, 5, 30))):
            self.serial += 1
            host = self.rng.choice(hosts)
            lines.append(f"v=0.12.0,time={self.time},host=h{host},user=u,cmd=c{self.serial},cpu%=1".encode())
        return lines

    async def client(self, port: int) -> None:
        """Sends until the gatherer is gone."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                lines = self.post()
                self.sent.update(lines)
                body = b"\n".join(lines)
                writer.write(
                    f"POST /sonar-freecsv?cluster=c HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                    f"Authorization: Basic {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                self.acknowledged.update(lines)
        finally:
            writer.close()

    def stored(self) -> tuple[set[bytes], list[bytes]]:
        """The whole lines in the archive, and what lies behind the last newline of each file."""
        lines: set[bytes] = set()
        tails = []
        for path in (self.folder / "archive" / "sonar").rglob("*.csv"):
            *whole, tail = path.read_bytes().split(b"\n")
            lines.update(whole)
            tails.append(tail)
        return lines, tails

    def check(self) -> None:
        lines, tails = self.stored()
        lost = self.acknowledged - lines
        assert not lost, f"seed {SEED}: {len(lost)} of {len(self.acknowledged)} acknowledged lines are lost"
        assert lines <= self.sent, f"seed {SEED}: lines that nobody sent: {sorted(lines - self.sent)[:3]}"
        assert all(any(line.startswith(tail) for line in self.sent) for tail in tails)


async def one_life(world: World, starter: asyncio.subprocess.Process) -> None:
    """Starts a gatherer, lets 64 clients send to it, and kills it at a random moment."""
    starter.stdin.write(f"{world.folder}\n".encode())
    pid, url = (await asyncio.wait_for(starter.stdout.readline(), PATIENCE)).decode().split()
    before = len(world.acknowledged)
    clients = []
    try:
        clients = [asyncio.create_task(world.client(int(url.rpartition(":")[2]))) for _ in range(CLIENTS)]
        async with asyncio.timeout(PATIENCE):
            while len(world.acknowledged) == before:
                await asyncio.sleep(0.001)
        await asyncio.sleep(world.rng.uniform(0, 0.25))
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
        ends = await asyncio.wait_for(asyncio.gather(*clients, return_exceptions=True), PATIENCE)
    for end in ends:
        assert isinstance(end, OSError | asyncio.IncompleteReadError), end
    world.check()


async def one_world(world: World, lives: int) -> None:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        for _ in range(lives):
            await one_life(world, starter)
    finally:
        starter.stdin.close()
        await asyncio.wait_for(starter.wait(), PATIENCE)


@pytest.mark.kills
@pytest.mark.timeout(300 + 5 * KILLS)
def test_no_acknowledged_line_is_lost_however_often_the_gatherer_is_killed(tmp_path):
    print(f"seed {SEED}: LAE_SEED={SEED} repeats it")
    worlds = [World(tmp_path / str(number), random.Random(SEED + number)) for number in range(WORLDS)]

    async def main():
        lives = [KILLS // WORLDS + (number < KILLS % WORLDS) for number in range(WORLDS)]
        await asyncio.gather(*map(one_world, worlds, lives))

    asyncio.run(main())
    acknowledged = sum(len(world.acknowledged) for world in worlds)
    sent = sum(len(world.sent) for world in worlds)
    print(f"{KILLS} kills, {acknowledged} lines acknowledged, {sent} sent, 0 lost")
    assert acknowledged > 10 * KILLS

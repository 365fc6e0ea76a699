"""Starts processes that use an archive, kills them at random moments, and knows what they were sent and what they acknowledged.

    archive_kill_driver.py ROOT NAME KILLS SEED

Run as a process of its own, with one thread, so that it can fork: a new process costs a few milliseconds this way. Ends with
one line of JSON: how many lives, what was acknowledged, and what of it is lost.
"""

import asyncio
import gc
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from lae_monitor.archive import Archive, Exists, Reserve
from lae_monitor.core.rows import Span

AT_ONCE = 12  # commands under way in a process
GROWING = [f"sonar/c/2026/11/22/h{number}.csv" for number in range(3)]
PATIENCE = 60.0  # seconds


def payload(number: int, size: int) -> bytes:
    piece = b"%09d," % number
    return (piece * (size // 10 + 1))[: size - 1] + b"\n"


async def live(root: str, name: str, commands: int, answers: int) -> None:
    """What the process does: each command's answer is written as soon as the archive has acknowledged it."""
    archive = await Archive([root], name, reserve=Reserve(size=0)).open()
    todo = iter(os.read(commands, 1 << 20).splitlines())

    async def work() -> None:
        for line in todo:
            what, number, size, path = line.decode().split()
            data = payload(int(number), int(size))
            if what == "store":
                span = await archive.store(path, [data])
            elif what == "append":
                span = await archive.append(path, data)
            elif what == "again":  # as a client does that got no answer
                try:
                    span = await archive.store(path, [data])
                except Exists:
                    span = Span(path, 0, len(data))
            else:
                async with archive.upload() as upload:
                    for start in range(0, len(data), 3000):
                        await upload.write(data[start : start + 3000])
                    span = await upload.commit(path)
            os.write(answers, f"{number} {span.path} {span.start} {span.end}\n".encode())

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    os.write(answers, b"done\n")
    await asyncio.sleep(PATIENCE)


class Driver:
    def __init__(self, root: Path, name: str, seed: int):
        self.root = root
        self.name = name
        self.chance = random.Random(seed)
        self.numbers = iter(range(1, 10**9))
        self.sent: dict[str, bytes] = {}  # whole files, by path
        self.unanswered: list[tuple[int, int, str]] = []
        self.acknowledged: list[tuple[str, int, int, bytes]] = []
        self.lost: list[str] = []
        self.lives = self.fruitful = 0

    def commands(self) -> dict[int, tuple[str, int, str]]:
        made = {}
        for number, size, path in self.unanswered[-3:]:
            made[number] = ("again", size, path)
        for _ in range(self.chance.randint(1, 25)):
            number = next(self.numbers)
            what = self.chance.choice(("store", "store", "upload", "append", "append", "append"))
            size = self.chance.choice((10, 300, 5000, 20000, 70000))
            day = 20261101 + self.chance.randrange(25)
            path = self.chance.choice(GROWING) if what == "append" else f"crashes/{day}/{self.name}-{number}.zip"
            made[number] = (what, size, path)
            if what != "append":
                self.sent[path] = payload(number, size)
        return made

    def life(self) -> None:
        commands = self.commands()
        orders, send = os.pipe()
        receive, answers = os.pipe()
        os.write(send, b"".join(b"%s %d %d %s\n" % (w.encode(), n, s, p.encode()) for n, (w, s, p) in commands.items()))
        child = os.fork()
        if child == 0:
            os.close(receive)
            os.close(send)
            try:
                asyncio.run(live(str(self.root), self.name, orders, answers))
            finally:
                os._exit(1)
        for fd in (orders, answers, send):
            os.close(fd)
        heard = self.listen(receive)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it ended by itself"
        while piece := os.read(receive, 1 << 16):
            heard += piece
        os.close(receive)
        self.lives += 1
        self.note(commands, heard.splitlines())

    def listen(self, receive: int) -> bytes:
        """Waits for the moment to kill: after a time, or after some answers and a bit."""
        heard = b""
        wanted = self.chance.choice((0, 0, 1, 2, 4, 8))
        end = time.monotonic() + (PATIENCE if wanted else self.chance.random() * 0.03)
        while heard.count(b"\n") < wanted or not wanted:
            left = end - time.monotonic()
            if left <= 0 or not select.select([receive], [], [], left)[0]:
                break
            piece = os.read(receive, 1 << 16)
            assert piece, "it ended by itself"
            heard += piece
            if b"done" in heard:
                break
        time.sleep(self.chance.choice((0, 0.0005, 0.002)))
        return heard

    def note(self, commands, lines) -> None:
        answered = set()
        for line in lines:
            if line == b"done":
                continue
            number, path, start, end = line.decode().split()
            what, size, _ = commands[int(number)]
            answered.add(int(number))
            self.acknowledged.append((path, int(start), int(end), payload(int(number), size)))
        self.fruitful += bool(answered)
        self.unanswered = [(n, s, p) for n, (w, s, p) in commands.items() if w != "append" and n not in answered]
        self.check(self.acknowledged[len(self.acknowledged) - len(answered) :])
        for number, (what, _, path) in commands.items():
            if what != "append" and (file := self.root / path).exists() and file.read_bytes() != self.sent[path]:
                self.lost.append(f"partial: {path} of command {number}")

    def check(self, acknowledged) -> None:
        for path, start, end, data in acknowledged:
            try:
                with (self.root / path).open("rb") as file:
                    file.seek(start)
                    found = file.read(end - start)
            except FileNotFoundError:
                found = None
            if found != data:
                self.lost.append(f"{path} {start}-{end}")

    def report(self) -> str:
        self.check(self.acknowledged)
        torn = []
        for path in (self.root / "sonar").rglob("*.csv"):
            for line in path.read_bytes().splitlines(keepends=True)[
                :-1
            ]:  # the last one may be torn until it is opened again
                if line[:9] * 2 != line[:9] + line[10:19] and len(line) > 20:
                    torn.append(f"{path}: {line[:40]!r}")
        return json.dumps(
            {
                "lives": self.lives,
                "fruitful": self.fruitful,
                "acknowledged": len(self.acknowledged),
                "lost": self.lost[:10],
                "torn": torn[:10],
            }
        )


def main() -> None:
    root, name, kills, seed = sys.argv[1:]
    driver = Driver(Path(root), name, int(seed))
    gc.collect()
    gc.freeze()
    for _ in range(int(kills)):
        driver.life()
    print(driver.report())


if __name__ == "__main__":
    main()

"""A hint that finds the kernel's queue full is not lost: its report would wait for the mover's sweep."""

import asyncio
import socket

import uvloop

from lae_monitor.archive.hints import Hints, listen

MANY = 1_000  # the kernel queues 10 or so


async def hear(listening: socket.socket, wanted: int) -> list[str]:
    loop = asyncio.get_running_loop()
    return [(await loop.sock_recv(listening, 4096)).decode() for _ in range(wanted)]


def test_all_hints_arrive_in_order_when_the_mover_reads_late(tmp_path):
    async def main() -> None:
        listening = listen(tmp_path / "mover.sock")
        hints = Hints(tmp_path / "mover.sock")
        for number in range(MANY):
            hints.send(f"crashes/{number}")
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert await hear(listening, MANY) == [f"crashes/{number}" for number in range(MANY)]
            hints.send("crashes/one more")
            assert await hear(listening, 1) == ["crashes/one more"]
        hints.close()
        listening.close()

    uvloop.run(main())
    asyncio.run(main())


def test_a_mover_that_is_gone_costs_nothing_and_the_next_one_is_told(tmp_path):
    async def main() -> None:
        path = tmp_path / "mover.sock"
        hints = Hints(path)
        hints.send("crashes/nobody listens")
        first = listen(path)
        for number in range(MANY):
            hints.send(f"crashes/{number}")
        first.close()
        await asyncio.sleep(0.05)  # whatever waited finds that out
        second = listen(path)
        hints.send("crashes/for the next")
        async with asyncio.timeout(60):
            assert await hear(second, 1) == ["crashes/for the next"]
        hints.close()
        second.close()

    uvloop.run(main())

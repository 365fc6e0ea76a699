"""200 is said after the sync, and never when a part of the post is not on disk."""

import asyncio
import base64
import errno
import itertools
import threading

import pytest
from prometheus_client import REGISTRY

from lae_monitor.archive.kernel import Kernel
from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.names import ClusterName
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.sonar import gather
from lae_monitor.kinds.sonar.free_csv import MAX_LINE, TURN, Post

PATIENCE = 60.0


def waiting_bytes():
    return REGISTRY.get_sample_value("lae_sonar_waiting_bytes")


async def begin(gatherer, size):
    """A post whose head is sent, and whose body of `size` bytes is not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gatherer.url.rpartition(":")[2]))
    token = base64.b64encode(b"c:pw").decode()
    writer.write(
        "POST /sonar-freecsv?cluster=c HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        f"Authorization: Basic {token}\r\nContent-Length: {size}\r\n\r\n".encode()
    )
    return reader, writer


class GatedKernel(Kernel):
    """Syncs of files wait until `open` is set; new names wait with them."""

    open = threading.Event()
    waiting = threading.Event()

    def fdatasync(self, fd):
        self.waiting.set()
        assert self.open.wait(PATIENCE)
        super().fdatasync(fd)


def test_no_answer_before_the_sync(tmp_path, gathering, line, now, monkeypatch):
    monkeypatch.setattr("lae_monitor.archive.root.HANG_AFTER", PATIENCE)
    GatedKernel.open.clear()
    GatedKernel.waiting.clear()

    async def main():
        async with gathering(tmp_path, clock=now, kernel=GatedKernel) as gatherer:
            posting = asyncio.create_task(gatherer.post(line(1)))
            assert await asyncio.to_thread(GatedKernel.waiting.wait, PATIENCE)
            # The line is written; whatever could answer gets its turn many times over.
            for _ in range(20):
                assert (await gatherer.curl(path="/ping")).status == 200
            assert not posting.done()
            GatedKernel.open.set()
            assert (await posting).status == 200

    try:
        asyncio.run(main())
    finally:
        GatedKernel.open.set()


class BadSpotKernel(Kernel):
    """Files of the host `bad` cannot be opened while `broken`."""

    broken = True

    def open_append(self, path):
        if self.broken and "/bad." in path:
            raise OSError(errno.EIO, "Input/output error", path)
        return super().open_append(path)


def test_a_post_that_is_stored_in_part_is_refused_and_shows_once_when_it_is_sent_again(tmp_path, gathering, line, now):
    BadSpotKernel.broken = True

    async def main():
        async with gathering(tmp_path, clock=now, kernel=BadSpotKernel) as gatherer:
            body = line(1, host="good") + line(2, host="bad")
            answer = await gatherer.post(body)
            assert (answer.status, answer.headers["x-refused"]) == (503, "archive_failed")
            assert int(answer.headers["retry-after"]) > 0
            BadSpotKernel.broken = False
            async with asyncio.timeout(PATIENCE):
                while (await gatherer.post(body)).status != 200:
                    await asyncio.sleep(0.05)
            samples = gatherer.samples()
            assert {sample.host for sample in samples} == {"good", "bad"}
            assert len({sample.key for sample in samples}) == 2
            await gatherer.end()
            receipts = gatherer.receipts()
            assert {r["reason"] for r in receipts if r["verdict"] == "refused"} == {"archive_failed"}
            accepted = {r["host"]: r for r in receipts if r["verdict"] == "accepted"}
            assert accepted.keys() == {"good", "bad"}
            for host, receipt in accepted.items():
                data = (gatherer.root / receipt["file"]).read_bytes()[receipt["start"] : receipt["end"]]
                assert data == (line(1, host="good") if host == "good" else line(2, host="bad"))

    asyncio.run(main())


class FullKernel(Kernel):
    full = True

    def writev(self, fd, parts):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().writev(fd, parts)


def test_a_full_disk_is_503_and_posts_are_taken_again_when_there_is_room(tmp_path, gathering, line, now):
    FullKernel.full = False

    async def main():
        async with gathering(tmp_path, clock=now, kernel=FullKernel) as gatherer:
            FullKernel.full = True
            answer = await gatherer.post(line(1))
            assert (answer.status, answer.headers["x-refused"]) == (503, "no_space")
            assert "retry-after" in answer.headers
            FullKernel.full = False
            async with asyncio.timeout(PATIENCE):
                while (await gatherer.post(line(2))).status != 200:
                    await asyncio.sleep(0.05)
            assert [sample.cmd for sample in gatherer.samples()] == ["c2"]

    asyncio.run(main())


def test_more_bytes_than_may_wait_are_refused_as_busy_and_large_posts_leave_room_for_small_ones(
    tmp_path, gathering, line, now, monkeypatch
):
    monkeypatch.setattr(gather, "MAX_LARGE", 1 * MiB)

    async def main():
        async with gathering(tmp_path, clock=now, max_body=1 * MiB) as gatherer:
            slow, slow_writer = await begin(gatherer, MiB)
            slow_writer.write(b"\n" * (MiB - 1))
            await slow_writer.drain()
            while waiting_bytes() < MiB - 1:
                await asyncio.sleep(0.01)
            answer = await gatherer.post(b"\n" * (512 * KiB))
            assert (answer.status, answer.headers["x-refused"]) == (503, "busy")
            assert (await gatherer.post(line(1))).status == 200
            slow_writer.write(b"\n")
            assert (await slow.readline()).startswith(b"HTTP/1.1 200")
            slow_writer.close()
            assert (await gatherer.post(b"\n" * (512 * KiB))).status == 200
            assert waiting_bytes() == 0

    asyncio.run(main())


def test_however_many_small_posts_wait_they_have_a_limit_together(monkeypatch):
    monkeypatch.setattr(gather, "MAX_SMALL", 100)
    bound = gather.PostMemory(max_body=1000)
    with bound.post() as first, bound.post() as second:
        first(60)
        second(40)
        with bound.post() as third, pytest.raises(Refused, match="busy"):
            third(1)
        second(0)
    with bound.post() as fourth:
        fourth(100)
    assert waiting_bytes() == 0


def test_64_clients_at_once_lose_nothing_and_mix_no_lines(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            posts = [
                b"".join(line(client * 1000 + round_ * 10 + number, host=f"h{client % 8}") for number in range(5))
                for client in range(64)
                for round_ in range(4)
            ]
            gate = asyncio.Semaphore(64)

            async def send(body):
                async with gate:
                    return (await gatherer.post(body)).status

            assert set(await asyncio.gather(*map(send, posts))) == {200}
            assert len(gatherer.files()) == 8
            stored = b"".join(gatherer.files().values())
            assert sorted(stored.splitlines()) == sorted(b"".join(posts).splitlines())
            assert all(body in stored for body in posts)

    asyncio.run(main())


def test_a_request_in_progress_is_finished_when_the_gatherer_is_stopped(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            body = line(1)
            reader, writer = await begin(gatherer, len(body))
            writer.write(body[:10])
            while waiting_bytes() != 10:
                await asyncio.sleep(0.01)
            gatherer.stop.set()
            await asyncio.sleep(0)
            writer.write(body[10:])
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            await gatherer.end()
            assert [receipt["verdict"] for receipt in gatherer.receipts()] == ["accepted"]
            assert gatherer.files() == {"c/2026/11/22/h.csv": body}

    asyncio.run(main())


def test_a_large_post_is_checked_in_turns_with_the_others(line, now):
    body = b"".join(map(line, range(20_000)))
    post = Post(body, ClusterName("c"), now())
    turns = [post._position for _ in post.check()]
    steps = [after - before for before, after in itertools.pairwise([0, *turns, len(body)])]
    assert max(steps) <= TURN + MAX_LINE
    assert post.files() == {"sonar/c/2026/11/22/h.csv": body}

"""However the supervisor ends, its children end too; whatever its children do, it does not spin and does not hang."""

import asyncio
import os
import signal
import subprocess
import sys

from monitor import Monitor, await_that

from lae_monitor.service import supervisor
from lae_monitor.service.supervisor import Child, Supervisor


def test_a_killed_supervisor_leaves_no_children(tmp_path):
    with Monitor(tmp_path / "monitor", "crashes", "serve") as monitor:
        assert monitor.child("gather", "crashes") and monitor.child("serve")
        monitor.process.send_signal(signal.SIGKILL)
        monitor.process.wait(60)
        await_that(lambda: not monitor.children(), "the children end")
        monitor.process.stdout.close()
        monitor.start()  # and hold nothing that another start needs
        assert monitor.stop() == 0


def test_a_stop_that_comes_while_a_child_is_started_is_not_lost(monkeypatch):
    """The child is not there yet when all are told to end."""
    started = []
    stop = asyncio.Event()
    execute = asyncio.create_subprocess_exec

    async def slowly(*arguments, **keywords):
        stop.set()
        await asyncio.sleep(0.5)
        process = await execute(sys.executable, "-c", "import time; time.sleep(600)", **keywords)
        started.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)

    async def go():
        async with asyncio.timeout(60):
            return await Supervisor({"serve": []}, lambda _said: None).run(stop)

    assert asyncio.run(go()) == 0
    assert started[0].returncode is not None


def test_a_log_that_nobody_reads_and_endless_lines_end_nothing(tmp_path, monkeypatch):
    """The reader of our log went away: the broken pipe must not take the children down."""
    program = "import sys; sys.stdout.write('x' * 3_000_000 + '\\n'); print('after', flush=True)"
    code = f"""
import asyncio, sys
from lae_monitor.service import supervisor
execute = asyncio.create_subprocess_exec
runs = []
async def instead(*arguments, **keywords):
    runs.append(1)
    return await execute(sys.executable, "-c", {program!r}, **keywords)
supervisor.asyncio.create_subprocess_exec = instead
supervisor.FIRST_PAUSE = 0.1
async def go():
    stop = asyncio.Event()
    child = supervisor.Child("talker", [], "")
    task = asyncio.create_task(child.keep_alive(stop))
    while len(runs) < 3 and not task.done():
        await asyncio.sleep(0.05)
    stop.set()
    await task
    print("done", len(runs))
asyncio.run(go())
"""
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=write)
    os.close(write)
    os.close(read)
    out, _ = process.communicate(timeout=60)
    assert out.split() == [b"done", b"3"]


def test_it_is_said_who_is_not_ready(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "SLOW_START", 0.05)

    async def go():
        watching = Supervisor({"slow": [], "quick": []}, lambda _said: None)
        watching.children["quick"].ready.set()
        announcing = asyncio.create_task(watching._announce())
        async with asyncio.timeout(30):
            while "slow is not ready yet" not in caplog.text:
                await asyncio.sleep(0.01)
        announcing.cancel()

    asyncio.run(go())
    assert "quick" not in caplog.text


def test_a_child_that_ends_by_itself_is_started_later_and_later(monkeypatch):
    pauses = []

    async def go():
        stop = asyncio.Event()
        wait_for = asyncio.wait_for

        async def no_wait(awaitable, timeout):
            pauses.append(timeout)
            if len(pauses) == 3:
                stop.set()
            return await wait_for(awaitable, 0.01)

        monkeypatch.setattr(asyncio, "wait_for", no_wait)
        await Child("brief", ["--version"], "").keep_alive(stop)

    asyncio.run(go())
    assert pauses == [0.5, 1.0, 2.0]

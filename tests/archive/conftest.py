"""An archive on a real disk, and ways to look at it from outside."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lae_monitor.archive import Archive, Reserve

PATIENCE = 60.0  # seconds; the machine may be slow and busy


@pytest.fixture
def opened(tmp_path):
    """`async with opened() as archive`: on `tmp_path/home`, or on the roots named."""

    @contextlib.asynccontextmanager
    async def open_one(*roots: str, process: str = "p", **options):
        archive = Archive([tmp_path / root for root in roots or ("home",)], process, reserve=Reserve(size=0), **options)
        await archive.open()
        try:
            yield archive
        finally:
            await archive.close()

    return open_one


@pytest.fixture
def until():
    async def wait(condition) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.01)

    return wait

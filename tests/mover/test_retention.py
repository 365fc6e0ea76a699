"""What is older than it is to be kept goes, rows before file; what is younger, or was not moved, stays."""

import spine

from lae_monitor.mover.retention import day_of, retire

NOW = 1795305600.0  # 2026-11-22
YEAR = 365 * 86400.0


def line(title: str) -> bytes:
    return f'{{"time":"2026-01-02T00:00:00Z","what":"mark","title":"{title}"}}\n'.encode()


def test_old_files_go_with_their_rows(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            for day in ("2024/01/02", "2026/11/20"):
                await mover.archive.store(f"journal/{day}/x.jsonl", [line(day)])
            await mover.catch_up()
            await mover.archive.append("journal/2024/01/03/y.jsonl", line("not moved yet"))
            assert await retire(mover, {"crashes": YEAR}, NOW) == 1
            assert await spine.marks(mover) == ["2026/11/20"]
            days = [entry.name for entry in await mover.archive.entries("journal/2024/01")]
            await mover.catch_up()
            return days, await spine.marks(mover)

    days, marks = spine.run(go())
    assert "03" in days
    assert marks == ["2026/11/20", "not moved yet"]
    assert not (tmp_path / "archive/journal/2024/01/02/x.jsonl").exists()


def test_the_day_of_a_path():
    assert day_of("crashes/20261122/x.zip") == NOW
    assert day_of("sonar/c/2026/11/22/h.csv") == NOW
    assert day_of("incidents/lae/incidents/h/incident-2026-11-22--01-02-03Z-abc.flog.bz2") == NOW
    assert day_of("incidents/lae/incidents/h/latest") is None
    assert day_of("crashes/20269999/x.zip") is None

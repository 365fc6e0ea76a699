"""`lae-monitor run`: everything on one host, under the supervisor."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from lae_monitor.config import Settings
from lae_monitor.process.logs import set_up_log
from lae_monitor.process.running import log_settings, only_one, run_until_stopped
from lae_monitor.service.supervisor import GRACE, Supervisor


def run_all(
    settings: Settings,
    names: tuple[str, ...],
    config: Path | None,
    on_ready: Callable[[dict[str, str]], None],
    companions: dict[str, list[str]] | None = None,
) -> int:
    """Runs `serve` and the gatherers among `names`, until stopped.

    Args:
        settings: as read from `config`.
        names: kinds, and `serve`.
        config: the file that the children read too; None for the default one.
        on_ready: called once all are ready, with what each said of itself.
        companions: further commands to keep running, by name.

    Raises:
        AlreadyRunning
    """
    set_up_log("run", settings.log.format)
    log_settings(settings)
    options = ["--config", str(config)] if config is not None else []
    commands = {name: [*options, *(["serve"] if name == "serve" else ["gather", name])] for name in names}
    commands |= {name: [*options, *arguments] for name, arguments in (companions or {}).items()}

    async def main(stop: asyncio.Event) -> int:
        return await Supervisor(commands, on_ready).run(stop)

    with only_one(settings.state.path, "run"):
        return run_until_stopped(main, grace=3 * GRACE)

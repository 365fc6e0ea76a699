"""Whether a report is kept, and under which crash id: tokens first, then the id it may bring, then the throttle rules."""

import random
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from lae_monitor.core.names import CrashId, new_crash_id
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, Clock
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.report import Report
from lae_monitor.kinds.crashes.throttle.rules import KEPT, Result, RulesFile, Verdict
from lae_monitor.kinds.crashes.tokens import Tokens

FROM_CRASH_ID: Final = "FROM_CRASHID"  # the rule of a report whose id says what was decided before; Antenna's name


class Admitted(NamedTuple):
    """A report that may be kept. `resubmitted`: it brought its id along."""

    crash_id: CrashId
    verdict: Verdict
    resubmitted: bool = False

    @property
    def kept(self) -> bool:
        return self.verdict.result in KEPT

    @property
    def is_told_an_id(self) -> bool:
        """Whether the sender hears a crash id: also when the report is dropped, of clients that would retry for ever."""
        return self.kept or self.verdict.result is Result.FAKEACCEPT

    def about(self) -> dict[str, str | int | float | None]:
        """What `metadata` says of it."""
        return {
            "throttle_rule": self.verdict.rule,
            "throttle_result": self.verdict.result.name.lower(),
            "throttle_rate": 100 if self.verdict.percent is None else self.verdict.percent,
            "legacy_processing": self.verdict.legacy_processing,
        }


class Admission:
    """Decides what becomes of a report: refused, dropped, or kept under a crash id.

    Args:
        settings: `id_depth` says what the digit of a crash id means.
        tokens, rules: re-read when their files change.
        clock: now, in seconds.
        chance: a random number from 0 to below 1.
    """

    def __init__(
        self,
        settings: Settings,
        tokens: Tokens,
        rules: RulesFile,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._depth = settings.id_depth
        self._tokens = tokens
        self._rules = rules
        self._clock = clock
        self._chance = chance

    def decide(self, report: Report, tokens: list[str], received: float, bearer: list[str]) -> Admitted:
        """What becomes of `report`, which came with `tokens`, of which `bearer` was in its head and not in its URL.

        Raises:
            Refused: `unauthorized`, `unauthorized_uuid`, `malformed_invalid_uuid`, `credentials_unreadable`.
        """
        annotations = report.annotations
        self._tokens.check(report.program.product, tokens)
        if "uuid" in annotations:
            self._tokens.check_submitter(bearer)
            return self._resubmitted(annotations["uuid"], received)
        crash_id = new_crash_id(received)
        verdict = self._rules.current().decide(
            annotations, program=report.program, crash_id=crash_id, now=received, random=self._chance
        )
        if self._depth:
            return Admitted(_with_digit(crash_id, self._depth), verdict)
        return Admitted(_with_digit(crash_id, int(verdict.result)), verdict)

    def _resubmitted(self, uuid: object, received: float) -> Admitted:
        try:
            crash_id = CrashId(str(uuid))
        except Refused as refused:
            raise Refused("malformed_invalid_uuid", refused.detail) from None
        if crash_id.day > time.strftime("%Y%m%d", time.gmtime(received + DAY)):
            raise Refused("malformed_invalid_uuid", "its day is yet to come", raw=crash_id)
        deferred = not self._depth and crash_id[-7] == str(int(Result.DEFER))
        return Admitted(crash_id, Verdict(Result.DEFER if deferred else Result.ACCEPT, FROM_CRASH_ID, None), True)


def _with_digit(crash_id: CrashId, digit: int) -> CrashId:
    return CrashId(f"{crash_id[:-7]}{digit}{crash_id[-6:]}")

"""One report as throttle rules see it, and what their conditions ask beside the language of all rules."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.kinds.crashes.program import Program, clean
from lae_monitor.kinds.rule_files.conditions import MISSING, Condition, Language, at_path, from_json, plain
from lae_monitor.kinds.rule_files.patterns import Searches
from lae_monitor.kinds.rule_files.table import TEXT, Table

MAX_SEARCHED: Final = 256  # characters of a value that a pattern sees
MAX_SEARCHING: Final = 0.05  # seconds of all patterns with one report; a search of every day takes microseconds
PRODUCT: Final = "ProductName"
PACKAGE: Final = "Android_PackageName"
ONE_VALUE: Final = frozenset({PRODUCT, "Version", "ProcessType", "ReleaseChannel"})  # read by program.py alone


class Lists(NamedTuple):
    """What is supported: products, and packages of those products that have some. Empty: everything."""

    products: frozenset[str]
    packages: Mapping[str, frozenset[str]]


class Facts:
    """The annotations of a report, and what else rules may ask for.

    Args:
        annotations: as they came; values need not be text.
        program: what the names in ONE_VALUE stand for, whatever the client calls it.
        crash_id: given to it; its throttle digit may be any.
        now: when it was received, in seconds.

    Attributes:
        is_unsure: whether a rule could not search it in time.
    """

    def __init__(self, annotations: Mapping[str, Any], program: Program, crash_id: str, now: float) -> None:
        self.now = now
        self.is_unsure = False
        self.searches = Searches(MAX_SEARCHING, MAX_SEARCHED)
        self._annotations = annotations
        self._program = {
            "ProductName": program.product if program.named else "",
            "Version": program.version,
            "ProcessType": program.process,
            "ReleaseChannel": program.channel,
        }
        self._id = crash_id
        self._parsed: dict[str, Any] = {}

    def has(self, key: str) -> bool:
        return self._value(key) is not MISSING

    def values(self, key: str, path: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._within(key, path) if path else self._value(key)
        return () if value is MISSING else (_as_text(value),)

    def text(self, name: str) -> str | None:
        """The annotation as text; None when there is no such thing."""
        return next(iter(self.values(name)), None)

    def share(self, rule: str, by: str) -> float:
        """A number from 0 to below 1 that is always the same for `rule` and the annotation `by`, or else for the crash id.

        The digit of a crash id is left out of it: it tells the verdict, and so is not known before.
        """
        value = (self.text(by) if by else None) or self._id[:-7]
        digest = hashlib.blake2b(f"{rule}\0{value}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / (1 << 53)

    def _value(self, name: str) -> Any:
        if name in ONE_VALUE:
            return self._program[name] or ("" if name in self._annotations else MISSING)
        return self._annotations.get(name, MISSING)

    def _within(self, name: str, path: tuple[str, ...]) -> Any:
        if name not in self._parsed:
            self._parsed[name] = from_json(self._value(name))
        return at_path(self._parsed[name], path)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError, TypeError):
        return ""


def language(lists: Lists) -> Language[Facts]:
    """What a condition of a throttle rule may say."""

    def unlisted(table: Table, key: str) -> Condition[Facts] | None:
        what = table.take(key, TEXT)
        if what == "product":
            return lambda facts: bool(lists.products) and facts.text(PRODUCT) not in lists.products
        if what == "package":
            return lambda facts: _has_other_package(facts, lists)
        if what is not None:
            table.problem(key, 'is "product" or "package"')
        return None

    return Language({"unlisted": unlisted}, lambda key, value: clean(value) if key in ONE_VALUE else plain(key, value))


def _has_other_package(facts: Facts, lists: Lists) -> bool:
    packages = lists.packages.get(facts.text(PRODUCT) or "")
    return bool(packages) and facts.text(PACKAGE) not in (packages or ())

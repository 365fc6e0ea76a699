"""What a request asks for: its parameters, each known, each once, each in its range."""

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import QueryParams

from lae_monitor.core.names import MAX_NAME
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_time
from lae_monitor.query.events import MAX_ROWS

MAX_LIST: Final = 50  # values of a parameter that may be repeated


class Asked:
    """The parameters of a query string.

    Args:
        parameters: as they came.
        known: the names that may occur; those with a trailing * may be repeated.

    Raises:
        Refused: `bad_parameters`.
    """

    def __init__(self, parameters: QueryParams, known: Iterable[str]) -> None:
        several = {name.removesuffix("*") for name in known if name.endswith("*")}
        allowed = {name.removesuffix("*") for name in known}
        self._parameters = parameters
        for name in parameters:
            if name not in allowed:
                takes = ", ".join(sorted(allowed)) or "nothing"
                raise Refused("bad_parameters", f"this address takes {takes}; not", raw=name)
            if name not in several and len(parameters.getlist(name)) > 1:
                raise Refused("bad_parameters", "given twice:", raw=name)

    def text(self, name: str) -> str:
        return self._parameters.get(name, "")

    def name(self, name: str) -> str:
        """A host's or a cluster's name."""
        value = self.text(name)
        if len(value) > MAX_NAME:
            raise Refused("bad_parameters", f"{name}: longer than {MAX_NAME} characters")
        return value

    def several(self, name: str) -> list[str]:
        values = [value for value in self._parameters.getlist(name) if value]
        if len(values) > MAX_LIST:
            raise Refused("bad_parameters", f"{name}: more than {MAX_LIST} values")
        return values

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value not in {"", "0", "1"}:
            raise Refused("bad_parameters", f"{name}: 0 or 1, not", raw=value)
        return value == "1"

    def number(self, name: str, default: int, least: int = 1, most: int = MAX_ROWS) -> int:
        """A whole number; one that is out of range is taken as the nearest that is not."""
        value = self.text(name)
        if not value:
            return default
        if not (value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 20):
            raise Refused("bad_parameters", f"{name}: a whole number, not", raw=value)
        return min(max(int(value), least), most)

    def time(self, name: str) -> float | None:
        value = self.text(name)
        return parse_time(value) if value else None

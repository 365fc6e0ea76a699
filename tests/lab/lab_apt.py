"""Where this machine gets its Debian packages from: the lab's hosts are made of the same. Nothing here names a mirror.

Reads apt's sources in both forms: one line each (sources.list, *.list), and deb822 (*.sources).
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab_places import LabError

SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # when a source names none; of debian-archive-keyring


@dataclass(frozen=True)
class Source:
    """One place of packages."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: Path = KEYRING


def _from_line(line: str) -> Iterator[Source]:
    """`deb [signed-by=FILE] URI SUITE COMPONENT...`"""
    found = re.fullmatch(r"deb(?:\s+\[(?P<options>[^\]]*)\])?\s+(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<rest>.*)", line)
    if found:
        options = dict(option.partition("=")[::2] for option in (found["options"] or "").split())
        yield Source(found["uri"], found["suite"], tuple(found["rest"].split()), _keyring(options.get("signed-by", "")))


def _from_stanza(stanza: str) -> Iterator[Source]:
    """`Types: deb`, `URIs: ...`, `Suites: ...`, `Components: ...`, `Signed-By: FILE`; values go on in indented lines."""
    values: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        before, _, value = line.partition(":") if not line[:1].isspace() else (key, ":", line)
        key = before.strip().lower()
        values[key] = f"{values.get(key, '')} {value.strip()}".strip()
    if "deb" not in values.get("types", "").split() or values.get("enabled", "yes").lower() in {"no", "false", "0"}:
        return
    for uri in values.get("uris", "").split():
        for suite in values.get("suites", "").split():
            components = tuple(values.get("components", "").split())
            yield Source(uri, suite, components, _keyring(values.get("signed-by", "")))


def _keyring(signed_by: str) -> Path:
    """A file if one is named; a key inside the source, or none at all, means Debian's own keyring."""
    return Path(signed_by) if signed_by.startswith("/") else KEYRING


def sources(folder: Path = SOURCES) -> Iterator[Source]:
    """All that apt is configured with, in no order of merit."""
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]:
        if path.is_file():
            for line in path.read_text().splitlines():
                yield from _from_line(line.partition("#")[0].strip())
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            yield from _from_stanza(stanza.strip("\n"))


def source_of(suite: str, folder: Path = SOURCES) -> Source:
    """Where `suite` comes from.

    Raises:
        LabError: apt knows no such source, or its keyring is not here.
    """
    for source in sources(folder):
        if source.suite == suite and "main" in source.components and re.match(r"https?:|file:|copy:", source.uri):
            if not source.keyring.is_file():
                raise LabError(f"{source.keyring} is missing. Next: apt-get install debian-archive-keyring")
            return source
    raise LabError(
        f"apt on this machine has no source of {suite}/main, of which the lab's hosts are made. "
        f"Next: add one to {SOURCES}/sources.list.d"
    )


def proxy() -> dict[str, str]:
    """What debootstrap wants in its environment when apt goes through a proxy."""
    asked = subprocess.run(
        ["apt-config", "--format", "%v%n", "dump", "Acquire::http::Proxy"], capture_output=True, text=True, check=False
    )
    address = asked.stdout.strip()
    return {"http_proxy": address} if address.startswith("http") else {}

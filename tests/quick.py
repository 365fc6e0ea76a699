"""Prints the tests that what has changed concerns, for `make quick`; says on stderr why.

Changed is what differs from the merge base with main, committed or not; on main itself, what is not committed.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

DEPLOYMENT = {"inventory", "meta", "molecule", "playbooks", "plugins", "roles", "ansible.cfg", "galaxy.yml", "site.yml"}
TEXTS = {".html", ".md", ".toml"}
SHARED = "tests/kinds/toy tests/kinds/test_pace.py tests/kinds/test_receipts.py"
TOO_LONG = {"tests/lab": "make test-lab"}  # hosts of its own: minutes before the first test


def changed(house: Path) -> list[str]:
    """Paths that were changed, made or removed; both names of one that was moved."""

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", "-C", str(house), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.splitlines() if done.returncode == 0 else []

    bases = git("merge-base", "HEAD", "main") or git("merge-base", "HEAD", "origin/main") or ["HEAD"]
    return sorted({*git("diff", "--name-only", "--no-renames", bases[0]), *git("ls-files", "-o", "--exclude-standard")})


def folders_of(path: str) -> str:
    """Where the tests of `path` are, a blank between several; "" if it has none of its own."""
    top, *rest = path.split("/")
    if top in DEPLOYMENT:
        return "tests/deploy"
    if top not in {"lae_monitor", "tests"}:
        return ""
    if len(rest) == 1:
        return "tests/cli" if top == "lae_monitor" else path if rest[0].startswith("test_") else ""
    if rest[0] == "kinds" and len(rest) == 2:  # what all kinds share, which the toy tries, too
        return path if rest[1].startswith("test_") else SHARED
    also = "tests/kinds/incidents/nodes" if rest[:2] == ["net", "furls"] else ""  # nodes that it lets in
    return f"tests/{'/'.join(rest[: 2 if rest[0] == 'kinds' else 1])} {also}"


def chosen(paths: Iterable[str], house: Path) -> tuple[list[str], list[str]]:
    """The tests to run for `paths`, and what to say beside."""
    paths = list(paths)
    folders = {folder for path in paths for folder in folders_of(path).split()}
    remarks = [f"{folder} is left out: {command}" for folder, command in TOO_LONG.items() if folder in folders]
    remarks += [f"{folder} does not exist" for folder in sorted(folders) if not (house / folder).exists()]
    tests = sorted(folder for folder in folders - {*TOO_LONG} if (house / folder).exists())
    if paths and "tests/test_house.py" not in tests:
        tests.append("tests/test_house.py")
    if any(Path(path).suffix in TEXTS or path == "Makefile" for path in paths) and "tests/docs" not in tests:
        tests.append("tests/docs")
    return tests, remarks


def main() -> None:
    house = Path(__file__).parent.parent
    paths = changed(house)
    tests, remarks = chosen(paths, house)
    said = f"{len(paths)} files changed; tests: {' '.join(tests)}" if tests else "nothing changed: no tests"
    print("\n".join(f"quick: {line}" for line in (said, *remarks)), file=sys.stderr)
    print(*tests)


if __name__ == "__main__":
    main()

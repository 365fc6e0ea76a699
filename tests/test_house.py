"""The rules of the house: what a reader may rely on in every file, without having read the others."""

import ast
import graphlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
MODULES = sorted((HOUSE / "lae_monitor").rglob("*.py"))
TEXTS = sorted(
    path
    for folder in ("lae_monitor", "tests", "docs", "bench", ".ci")
    for path in (HOUSE / folder).rglob("*")
    if path.suffix in {".py", ".md", ".toml", ".sh", ".html", ".css", ".js", ""} and path.is_file()
    if "__pycache__" not in path.parts and "vendor" not in path.parts
) + [HOUSE / name for name in ("Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml")]

MAX_LINES = 400  # a question to ask, never a reason to cut a thing in two

# Credentials of tubs, FURLs and certificates, have to outlast a power cut too. The file stands on the archive's own floor, and
# rooms of one floor do not know each other.
# The editor of tahoe.cfg stands alone: Ansible sends it to hosts that have nothing else of ours.
DURABLE_TOO = {"lae_monitor/fleet/tahoe_cfg.py"}


def name(path):
    return str(path.relative_to(HOUSE))


def tool(*arguments):
    """Runs a tool of the virtual environment; its output is the failure."""
    command = [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-6000:]}{done.stderr[-2000:]}"


def test_imports_go_down_only():
    tool("lint-imports", "--no-logo")


def test_ruff_has_nothing_to_say():
    tool("ruff", "check", ".")


def test_everything_is_formatted():
    tool("ruff", "format", "--check", ".")


def test_every_type_is_right():
    tool("mypy")


def test_no_module_is_named_for_nothing():
    nothing = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "stuff"}
    assert [name(path) for path in MODULES if nothing & {*path.relative_to(HOUSE).with_suffix("").parts}] == []


@pytest.mark.filterwarnings("default:long")
def test_long_modules_are_named():
    for path in MODULES:
        if (lines := len(path.read_text().splitlines())) > MAX_LINES:
            warnings.warn(f"long: {name(path)} has {lines} lines; does its head say why?", stacklevel=1)


def imported(path, modules):
    """The modules of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from modules & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (modules & within) or (modules & {node.module})


def test_no_module_imports_itself_by_way_of_others():
    paths = {
        ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    graph = {module: set(imported(path, paths.keys())) - {module} for module, path in paths.items()}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_nothing_is_left_for_later():
    later = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    found = {
        f"{name(path)}:{number}": line.strip()
        for path in TEXTS
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if later.search(line)
    }
    assert found == {}


def durable_calls(path):
    """Where `os.fsync`, `os.fdatasync` or their kin are named; calls through the archive's kernel are not."""
    kin = {"fsync", "fdatasync", "sync", "syncfs", "sync_file_range"}
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = {node.attr} if node.value.id in {"os", "libc", "_libc"} else set()
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "posix"}:
            named = {alias.name for alias in node.names}
        else:
            continue
        if kin & named:
            yield node.lineno


def test_only_the_archive_makes_anything_durable():
    calling = {name(path) for path in MODULES if list(durable_calls(path))}
    outside = {path for path in calling if not path.startswith("lae_monitor/archive/")}
    assert outside == DURABLE_TOO
    assert calling - outside


def test_the_search_for_durable_calls_finds_them(tmp_path):
    for text in ("import os\nos.fsync(3)", "from os import fdatasync", "import os\nsync = os.fdatasync"):
        (tmp_path / "a.py").write_text(text)
        assert list(durable_calls(tmp_path / "a.py")), text
    (tmp_path / "a.py").write_text("self.kernel.fsync(3)")
    assert not list(durable_calls(tmp_path / "a.py"))


def test_every_module_says_what_it_is():
    silent = [name(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []

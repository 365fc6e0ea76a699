import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent.parent
DOCS = HOUSE / "docs"


def tables(text):
    """The rows of every Markdown table in `text`: lists of cells, heads and rulers left out."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [cells(line) for line in block.splitlines()]
        yield rows[2:]


def cells(line):
    """The cells of a table's line; `\\|` is a bar inside one."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def code(cell):
    """The text of a cell that is nothing but code, else None."""
    return cell[1:-1] if len(cell) > 2 and cell[0] == cell[-1] == "`" and "`" not in cell[1:-1] else None


def fences(text, language):
    """The contents of fenced blocks of `language`, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def page():
    """Reads a page by its name."""
    return lambda name: (DOCS / name).read_text()


@pytest.fixture(scope="session")
def markdown():
    """Takes pages apart: tables, cells, code, fences."""
    from types import SimpleNamespace

    return SimpleNamespace(tables=tables, cells=cells, code=code, fences=fences)


@pytest.fixture(scope="session")
def all_pages():
    """Every page, with README, CHANGELOG and CONTRIBUTING: name -> text."""
    paths = [*sorted(DOCS.glob("*.md")), *(HOUSE / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING"))]
    return {str(path.relative_to(HOUSE)): path.read_text() for path in paths}

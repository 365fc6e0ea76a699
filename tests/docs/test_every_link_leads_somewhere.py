"""A link from one page of the documentation to another leads to a page, and to a heading, that exists."""

import re
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    for heading in re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links(all_pages):
    broken = []
    for name, text in all_pages.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (HOUSE / name).parent / path if path else HOUSE / name
            if not file.exists() or (anchor and anchor not in set(anchors(file.read_text()))):
                broken.append(f"{name}: {target}")
    assert broken == []


def test_code_that_names_a_page_names_one_that_exists(all_pages):
    broken = []
    for path in (HOUSE / "lae_monitor").rglob("*.py"):
        for page, anchor in re.findall(r"\bdocs/([a-z-]+\.md)(?:#([a-z0-9-]+))?", path.read_text()):
            text = all_pages.get(f"docs/{page}")
            if text is None or (anchor and anchor not in set(anchors(text))):
                broken.append(f"{path.relative_to(HOUSE)}: docs/{page}#{anchor}")
    assert broken == []


def test_every_page_is_on_the_map(all_pages):
    index = all_pages["docs/index.md"]
    missing = [name for name in all_pages if name.startswith("docs/") and f"({name[5:]})" not in index]
    assert [name for name in missing if name != "docs/index.md"] == []

"""Whatever tells where pages listen leads to the one place that tells who gets in there, and nothing waits for a login."""

from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["configuration.md", "deploy.md", "web.md"])
def test_the_place_is_named(page, name):
    assert "(security.md#pages-and-api)" in page(name)


def test_nothing_waits_for_a_login(all_pages):
    texts = [*all_pages.values()]
    for folder, pattern in (("lae_monitor", "*.py"), ("roles", "*.yml")):
        texts += [path.read_text() for path in (HOUSE / folder).rglob(pattern)]
    assert [text for text in texts if "until there is a login" in text or "no login yet" in text] == []

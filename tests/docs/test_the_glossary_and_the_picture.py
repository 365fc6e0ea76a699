"""docs/glossary.md explains each term once and leads on; the picture of ports shows the defaults of the settings."""

import re
from pathlib import Path

import yaml

from lae_monitor.config.describe import toml
from lae_monitor.config.keys import all_sections, keys
from lae_monitor.kinds import KINDS

HOUSE = Path(__file__).parent.parent.parent
LISTENS = {"listen", "http", "metrics_listen"}  # keys that make a process listen


def test_every_term_is_explained_once_in_order_and_leads_on(page, markdown):
    (rows,) = markdown.tables(page("glossary.md"))
    terms = [term for term, _, _ in rows]
    assert terms == sorted(set(terms), key=str.lower)
    assert [term for term, meaning, more in rows if not meaning.endswith((".", "`")) or "](" not in more] == []


def test_words_that_messages_use_are_explained(page, markdown):
    (rows,) = markdown.tables(page("glossary.md"))
    assert {"FURL", "tub", "swissnum", "umid", "receipt", "dead letter", "mover", "crashmover"} <= {
        row[0] for row in rows
    }


def ports(text):
    return set(re.findall(r":(\d{4,5})\b", text))


def test_the_picture_shows_every_port_that_we_listen_on_and_no_other(page):
    text = page("architecture.md").partition("## Who connects to which port\n")[2]
    incoming = text.partition("```\n")[2].partition("outgoing")[0]
    listening = [key for key in keys(all_sections(KINDS)) if key.name in LISTENS]
    by_default = ports("\n".join(toml(key.default) for key in listening))
    assert len(by_default) == 4
    role = yaml.safe_load((HOUSE / "roles/incident_gatherer/defaults/main.yml").read_text())
    examples = ports("\n".join(toml(key.example) for key in listening if key.example))
    by_request = examples | ports(role["incident_gatherer_http"])
    assert ports(incoming) == by_default | by_request
    assert [key.dotted for key in listening if not key.default and key.dotted not in incoming] == []

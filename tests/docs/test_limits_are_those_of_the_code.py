"""A limit that a page states is the one in the code."""

import re
from pathlib import Path

import pytest

from lae_monitor.core import limits
from lae_monitor.core import time as times

HOUSE = Path(__file__).parent.parent.parent
UNITS = {name: getattr(limits, name) for name in ("KiB", "MiB")} | {
    name: getattr(times, name) for name in ("MINUTE", "HOUR", "DAY")
}

STATED = [
    # page, what it says, module, constant, and what makes the words of the value
    ("incidents.md", "| events of an incident | {} |", "kinds/incidents/wire/flog", "MAX_EVENTS", "count"),
    ("incidents.md", "| an incident as JSON | {} |", "kinds/incidents/wire/flog", "MAX_INCIDENT", "size"),
    ("incidents.md", "| depth of what an event holds | {} |", "kinds/incidents/wire/plain", "MAX_DEPTH", "count"),
    ("incidents.md", "| time to fetch one | {} |", "kinds/incidents/nodes/node", "FETCH_LIMIT", "minutes"),
    ("incidents.md", "| errors for one incident | {}, ", "kinds/incidents/nodes/node", "GIVE_UP", "count"),
    ("incidents.md", "| nodes connected through one FURL | {} |", "net/furls/door", "MAX_PEERS", "count"),
    ("node-logs.md", "| more than {} of a host and day |", "kinds/incidents/node_logs/file", "MAX_DAY", "size"),
    ("node-logs.md", "too slowly, and {} of the host", "kinds/incidents/node_logs/file", "MAX_WAITING", "size"),
    ("node-logs.md", "of the host ({} of all)", "kinds/incidents/node_logs/file", "MAX_ALL_WAITING", "size"),
    ("node-logs.md", "| an event of more than {} |", "kinds/incidents/node_logs/file", "MAX_EVENT", "size"),
    ("node-logs.md", "sends {} events ahead", "kinds/incidents/node_logs/stream", "FLOOD", "count"),
    ("node-logs.md", "A host has {} tails at most", "kinds/incidents/tail/proxy", "MAX_TAILS", "count"),
    ("node-logs.md", "all together {}:", "kinds/incidents/tail/proxy", "MAX_ALL_TAILS", "count"),
    ("node-logs.md", "beyond {} that wait", "kinds/incidents/tail/relay", "MAX_QUEUE", "count"),
    ("crashes.md", "| parts; files | {};", "kinds/crashes/limits", "MAX_PARTS", "count"),
    ("crashes.md", "; {} | `malformed_too_many_parts` |", "kinds/crashes/limits", "MAX_FILES", "count"),
    ("crashes.md", "| one annotation; all of them | {};", "kinds/crashes/limits", "MAX_ANNOTATION", "size"),
    ("crashes.md", "; {} | `body_too_large` |", "kinds/crashes/limits", "MAX_ANNOTATIONS", "size"),
    ("crashes.md", "and {} times the compressed size", "kinds/crashes/limits", "MAX_RATIO", "count"),
    ("crashes.md", "beyond the first {} |", "kinds/crashes/limits", "FREE_OF_RATIO", "size"),
    ("crashes.md", "Up to {} of a report is kept in memory", "kinds/crashes/limits", "HOLD", "size"),
    ("crashes.md", "while it comes, and {} of all together", "kinds/crashes/limits", "MAX_HELD", "size"),
    ("crashes.md", "| connections at once | {} |", "net/connections", "MAX_CONNECTIONS", "count"),
    ("crashes.md", "trusted proxies have no such limit | {} |", "net/connections", "MAX_NEW_OF_PEER", "count"),
    ("security.md", "has {} seconds to", "net/connections", "NEW_TIMEOUT", "count"),
    ("security.md", "may have {} new connections", "net/connections", "MAX_NEW_OF_PEER", "count"),
    ("security.md", "A listener takes {} connections", "net/connections", "MAX_CONNECTIONS", "count"),
    ("security.md", "The last {} file descriptors", "net/connections", "RESERVED", "count"),
    ("crashes.md", "10 s; {} |", "net/connections", "MAX_HEAD", "size"),
    ("sonar.md", "| a line of more than {} |", "kinds/sonar/free_csv", "MAX_LINE", "size"),
    ("sonar.md", "| more than {} hosts and days in one post |", "kinds/sonar/free_csv", "MAX_FILES", "count"),
    ("archive.md", "no answer within {} seconds", "archive/root", "HANG_AFTER", "count"),
    ("archive.md", "was probed successfully within {} seconds", "net/http_operations", "PROBE_STALE", "count"),
    ("archive.md", "Every {} seconds `serve` brings", "service/serve", "HOMECOMING_EVERY", "count"),
    ("archive.md", "a copy of up to {} and the reason", "mover/pieces", "MAX_COPY", "size"),
    ("mover.md", "every {} seconds over the folders", "mover/sweep", "QUICK_SWEEP", "count"),
    ("mover.md", "Up to {} files and", "mover/waiting", "BATCH_FILES", "count"),
    ("mover.md", "files and {} make a batch", "mover/waiting", "BATCH_BYTES", "size"),
    ("mover.md", "after {} seconds at most", "mover/mover", "MAX_BACKOFF", "count"),
    ("store.md", "the driver sets each to {}.", "store/chdb_driver", "CACHE", "size"),
    ("web.md", "written and synced within {} seconds", "net/http_operations", "PROBE_STALE", "count"),
]  # fmt: skip


def value_of(module, constant):
    """A constant as the source has it; importing some of these modules would start Twisted."""
    text = (HOUSE / "lae_monitor" / f"{module}.py").read_text()
    found = re.search(rf"^{constant}\b[^=\n]*= ([0-9_.A-Za-z* ]+?)(?:  #.*)?$", text, re.MULTILINE)
    assert found, f"{module} has no {constant}"
    return eval(found[1], {"__builtins__": {}}, UNITS)


def words(value, form):
    if form == "size":
        unit = next(unit for unit in ("MiB", "KiB") if value % UNITS[unit] == 0)
        return f"{value // UNITS[unit]} {unit}"
    return f"{value / 60:g} minutes" if form == "minutes" else f"{value:,g}" if value == int(value) else f"{value:g}"


@pytest.mark.parametrize(("name", "sentence", "module", "constant", "form"), STATED)
def test_limit(page, name, sentence, module, constant, form):
    wanted = sentence.format(words(value_of(module, constant), form))
    assert wanted in " ".join(page(name).split()), f"docs/{name} should say: {wanted}"

"""Files of incidents that tests make, and questions to the child process that classifies."""

import asyncio
import bz2
import json

from lae_monitor.kinds.incidents.classify.process import Classifier
from lae_monitor.kinds.incidents.classify.sources import Sources

HOST = "node1.example.org"


def flog(trigger, events=()):
    header = {"type": "incident", "trigger": trigger, "versions": {"foolscap": "24.9.0"}, "pid": 7}
    wrapped = [{"from": "local", "rx_time": 1.7e9, "d": event} for event in (*events, trigger)]
    lines = [json.dumps(line).encode() + b"\n" for line in ({"header": header}, *wrapped)]
    return bz2.compress(b"# foolscap flogfile v1\n" + b"".join(lines))


def sources(rules="", *classifiers, source="rules.toml"):
    return Sources(rules, source, tuple((f"classify_{name}.py", text) for name, text in classifiers))


def ask(given, *files, limit=20.0, start=60.0):
    """What was loaded, and the opinions of the files, from a child of their own."""

    async def go():
        classifier = Classifier(given, limit, start=start)
        try:
            loaded = await classifier.start()
            return loaded, [await classifier.classify("lae", HOST, data) for data in files], classifier
        finally:
            await classifier.stop()

    return asyncio.run(go())

"""A real Tahoe-LAFS node: its log is kept, and watched through us, while its incidents arrive as ever."""

import signal
import sys
from pathlib import Path

from logs_gatherer import flogtool, log_gatherer_in
from tahoe_node import Node

BIN = Path(sys.executable).parent


def test_log_of_a_real_node_is_kept_and_tailed(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        furl = gatherer.register("node1.example").furl.reveal()
        gatherer.start()
        tail_furl = gatherer.tail_furl("node1.example").furl.reveal()
        tail = gatherer.run([str(BIN / "flogtool"), "tail", "--catch-up", tail_furl], "flogtool-tail")
        tail.await_output("none is connected")
        node = Node(gatherer, furl)
        node.start()
        tail.await_output("is followed")
        gatherer.await_journal(what="mark", host="node1.example", title="the node's log is followed")
        node.report("flop for the log")
        tail.await_output("flop for the log")
        (name,) = gatherer.await_names("node1.example", 1)
        (trigger,) = [one["d"] for one in gatherer.lines("node1.example", name)[1:] if one["d"]["level"] >= 30]
        gatherer.await_that(
            lambda: any(one["d"]["num"] == trigger["num"] for one in gatherer.wrappers("node1.example")),
            "the incident's trigger is in the log",
        )
        assert not gatherer.journal(what="mark", host="node1.example", reason="unsent")
        (path,) = gatherer.log_files("node1.example")
        dumped = flogtool("dump", str(path))
        assert "flop for the log" in dumped
        assert "Node constructed. tahoe-lafs/" in dumped, "what the node logged before it was connected"
        (row,) = [one for one in gatherer.rows("node1.example") if one.attrs["num"] == str(trigger["num"])]
        assert row.attrs["umid"] == trigger["umid"] == "LkD9Pw"
        assert tail.kill(signal.SIGTERM) is not None
        node.stop()
        gatherer.await_journal(what="mark", host="node1.example", title="the node's log is followed no more")

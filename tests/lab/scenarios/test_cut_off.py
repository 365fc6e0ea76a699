"""A node that is cut off during a run keeps no other host from being done; the next run does the rest."""

from lab_site import HOSTS, one_line


def test_a_node_that_is_cut_off_keeps_nobody_else_from_being_done(deployed):
    deployed.play("uninstall", "--limit", "lae_node").fine()
    node = deployed.lab.hosts["node2"]
    process, said = deployed.begin(), ""
    for line in process.stdout:
        said += line
        if "lae_common : Ask for the release" in line:
            node.cut()
            break
    first = deployed.end(process, said)
    node.heal()
    assert first.code != 0
    assert "Not done: node2." in one_line(first.said)
    assert first.recap["node2"]["unreachable"] == 1
    assert (first.recap["monitor1"]["failed"], first.recap["node1"]["failed"]) == (0, 0)
    assert first.changed()["node1"] > 0
    changed = deployed.play().fine().changed()
    assert changed.keys() == {*HOSTS}
    assert (changed["monitor1"], changed["node1"]) == (0, 0)
    assert changed["node2"] > 0

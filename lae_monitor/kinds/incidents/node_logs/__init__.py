"""What nodes log, kept beside their incidents. See docs/node-logs.md.

following.py  which nodes are followed, from which level on; the form in which events are stored
follower.py   follows the log of one connected node
stream.py     numbers of events, run by run: duplicates and gaps; how fast a node may log
file.py       a file for each host and day; marks on the timeline for what is not kept
read.py       a piece of such a file -> events of the timeline; pure
"""

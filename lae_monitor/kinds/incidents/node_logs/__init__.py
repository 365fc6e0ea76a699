"""What nodes log, kept beside their incidents. See docs/node-logs.md.

following.py  which nodes are followed, from which level on
follower.py   follows the log of one connected node
pace.py       how fast a node may log
numbers.py    the numbers of events, run by run: duplicates and gaps
event.py      an event in the form in which it is stored
file.py       a file for each host and day
losses.py     marks on the timeline for what is not kept
read.py       a piece of such a file -> events of the timeline; pure
"""

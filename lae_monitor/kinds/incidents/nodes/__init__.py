"""Nodes that report: let in by their FURLs, connected, their incidents fetched.

door.py        which FURLs are served; disconnects nodes whose FURL is gone
entrance.py    the objects behind FURLs: one for each host, one for nodes without a FURL of their own
claims.py      hosts of the addresses that report by the shared FURL, as an operator claimed them
relocation.py  moves incidents that were stored under an address to the host that claimed it
node.py        one connected node: announced, fetched one at a time, stored, then known
known.py       which incidents of a host need no fetching
turns.py       the order in which hosts' incidents are fetched
shared.py      where incidents go, and how much may be under way at once
link.py        flogtool's name for the shared FURL, beside the incidents
registry.py    makes, rotates and revokes the FURLs of hosts
status.py      which hosts are connected, and when each was last in contact
unclaimed.py   hosts that are known by their address alone
heard.py       waits until a host's nodes are connected
arrival.py     looks for an incident in the archive and in the lists of categories
test_incident.py   has a node report one, and follows it to the archive
commands.py    fleet rotate, revoke, claim, unclaim
"""

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
"""

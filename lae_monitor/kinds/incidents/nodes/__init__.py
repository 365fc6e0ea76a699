"""Nodes that report: connected, and their incidents fetched. net/furls admits them by their FURLs.

node.py        one connected node: announced, fetched one at a time, stored, then known
known.py       which incidents of a host need no fetching
shared.py      where incidents go, how much may be under way at once, and in which order
relocation.py  moves incidents that were stored under an address to the host that claimed it
commands.py    fleet rotate, revoke, claim, unclaim
"""

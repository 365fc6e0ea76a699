"""Incident reports of Tahoe-LAFS nodes, and of any program with a Foolscap log publisher.

A node connects to the FURL in its `tahoe.cfg` (`[node] log_gatherer.furl`) and offers its log port; what it saw before and
after something went wrong is fetched and kept as flogtool keeps it. Replaces `flogtool create-incident-gatherer`. Each host
has a FURL of its own, so that it is known by its credential, and stays the same host when its nodes restart.
"""

"""Admits Foolscap peers by FURLs: one of each host's own, and a shared one for hosts without.

files.py      the FURLs, a file each
registry.py   makes, rotates, revokes and adopts them
claims.py     hosts of the addresses that use the shared FURL, as an operator claimed them
door.py       admits peers, and disconnects those whose FURL was revoked
ledger.py     the gatherer's database: connections, last contacts, expected hosts
status.py     the same for commands and alarms, host by host

A kind that uses it has its gatherer implement `door.Gatherer`.
"""

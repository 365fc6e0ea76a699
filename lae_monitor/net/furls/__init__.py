"""Lets Foolscap peers in by FURLs: one of each host's own, and a shared one for hosts without.

files.py      the FURLs, a file each
claims.py     hosts of the addresses that come by the shared FURL, as an operator claimed them
"""

"""Transports that gatherers and `serve` share: HTTP with deadlines, and Foolscap tubs.

http           what listeners import of the modules http_*: server, router, request, deadlines, health addresses
connections    limits of connections, on every listener
peer           which account of this machine is at the other end
access         accounts and tokens that may use pages and API
passwords      a file of passwords or tokens: who may send for whom
tubs/          Foolscap on asyncio
furls/         the FURLs of hosts, and peers admitted by them
statsd         metrics to a statsd server
countdown      a timer that can pause
"""

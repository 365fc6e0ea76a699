"""`fleet tail`, and `flogtool tail` through this monitor: a node's log as it is written.

tails.py     the tail FURLs of hosts, and what is behind them
proxy.py     the log publisher behind a tail FURL, which asks the connected nodes of that host
relay.py     from one node to one reader, at the reader's speed
client.py    reads the log behind a FURL
commands.py  fleet tail
"""

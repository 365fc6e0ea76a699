"""`fleet tail`, and `flogtool tail` through this monitor: a node's log as it is written.

door.py      the tail FURLs of hosts
furls.py     makes them
proxy.py     the log publisher behind a tail FURL, which asks the connected nodes of that host
relay.py     from one node to one reader, at the reader's speed
client.py    reads the log behind a FURL
observer.py  what a publisher calls meanwhile
commands.py  fleet tail
"""

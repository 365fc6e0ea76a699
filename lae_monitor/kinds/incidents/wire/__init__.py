"""Incidents as flogtool writes them, and as they are shown. Without I/O.

flog.py         the file format: a magic line, then JSON lines; bzip2
plain.py        values of any type and depth from a node -> what JSON can hold
names.py        names of incidents, with their times; identities, from node incarnation and trigger
event.py        level, time and line of one event
render.py       the text of an event, bounded and harmless
fingerprint.py  the group of an incident, from its trigger with ids, addresses, paths, times and numbers masked
"""

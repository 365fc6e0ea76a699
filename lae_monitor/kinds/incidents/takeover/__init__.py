"""From flogtool's incident gatherer to this one.

stock.py      its certificate and FURL become ours; its nodes need no change
folders.py    finds and reads the incidents in its folders, or in a node's
plan.py       which of them an import brings, and to which hosts
importing.py  brings them into the archive
commands.py   import, for incidents
"""

"""From flogtool's incident gatherer to this one.

stock.py      its certificate and FURL become ours; its nodes need no change
folders.py    finds and reads the incidents in its folders, or in a node's
plan.py       which of them an import takes, and to which hosts
importing.py  stores them in the archive
commands.py   import, and gather --stock, for incidents
"""

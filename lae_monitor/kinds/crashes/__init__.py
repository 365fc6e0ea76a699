"""Crash reports that Breakpad, Crashpad and Firefox clients POST; replaces the collectors of the Socorro family.

Accepted means: one zip is durable at `crashes/<YYYYMMDD>/<crash id>.zip`, holding `raw_crash.json` and each dump by its
name, byte for byte. Nothing of a report is understood before that; `read.py` does it later, without I/O.
"""

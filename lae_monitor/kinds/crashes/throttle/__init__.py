"""Throttle rules: which crash reports are kept. See docs/throttling.md.

rules.py      a file of rules -> a verdict on each report; the rules in force
facts.py      a report as conditions see it; the key `unlisted`
commands.py   `lae-monitor crashes throttle-test`
presets/      accept-all, antenna, socorro
"""

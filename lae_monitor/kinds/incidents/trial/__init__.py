"""`fleet test-incident`: has a node report an incident, and follows it to the archive and the store.

steps.py      the steps
commands.py   the command
"""

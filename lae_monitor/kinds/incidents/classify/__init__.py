"""Classification: what an incident is called, by rules and by flogtool's classifiers. See docs/classification.md.

job.py         classifies what is stored, in the background
sources.py     the rules and classifiers that are configured, as text
rules.py       a file of rules -> the categories of an incident
facts.py       an event as conditions see it; the keys `umid`, `level`, `facility`, ...
process.py     the process that runs rules and classifiers, as the gatherer sees it: started, asked, killed
child.py       that process, the only one that runs flogtool's files classify_*.py
frames.py      the messages between the two
lists.py       flogtool's lists: a file for each category; and answers in the journal that they do not have yet
commands.py    incidents classify: rules tried on stored incidents
presets/       tahoe, none
"""

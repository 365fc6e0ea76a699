"""Questions to the store. Only `decisions` writes, to the journal.

grammar           what can be searched for; parser: text -> Query, writing: back; planner: Query -> SQL
patterns          regular expressions of searches
search            events of all hosts
events            rows of events, as the API gives them
hosts             the hosts: last contact, worst level, load
timeline          one host: events page by page, counts by kind and time, gaps
reports           one report: its event and its file
groups            the groups; group_page: one group in full
decisions         what operators decide of groups
refused_reports   what was refused, by reason
"""

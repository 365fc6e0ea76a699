"""Questions to the store: the search grammar, the hosts, one host's timeline, one report. Reads only."""

"""What nodes answer and say of their incidents, decoded by us as it comes: Foolscap takes half a millisecond an event.

broker   a connection that does so, and leaves all else to Foolscap
banana   answers to get_incident
names    calls of new_incident
"""

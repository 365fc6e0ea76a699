"""Alarms: what people are told before they look. An alarm is in the ledger before anybody is told of it, and in the journal
once; what could not be delivered is tried again, also after a restart, until it is, or is a week old.

    watch      looks every few seconds: which conditions hold now, which no longer
    silence    hosts that are expected, and were not heard
    newness    groups that nobody has seen before
    ledger     state/alerts.db: what is raised, who was told, who is to be
    deliver    one lane for each destination, so that one that hangs delays no other
    message    the words; mail and webhook carry them, with a secret
    check      what destinations need beside their settings
    metrics    alarms and messages, for Prometheus

With docs/alerts.md.
"""

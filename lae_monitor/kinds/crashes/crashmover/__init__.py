"""Hands stored crashes on: to the layouts that older systems read, to object stores, to other collectors.

The archive is the truth, and nothing here removes anything from it. What was sent where is in `state/crashmover.db`; a crash
counts as sent when its destination has it, durable and compared by checksum. One that cannot be read is never sent.

    config    [gatherers.crashes.crashmover] and its destinations
    crash     one crash, read and checked
    source    what the archive has that was not yet noticed
    ledger    the SQLite file
    commands  `lae-monitor crashmover`; run is its process, until it is stopped or once
    mover     from the one to the others: threads, retries, dead letters
    lane      what is under way to one destination; and the ids of saved crashes, to a queue or an address
    destination   what all of them do; files (Antenna's, Socorro's), objects, tarball, posting (collectors): one each
"""

"""The words of the domain: names, ids, times, limits, refusals, rows, secrets. No I/O here, ever.

kind         the Kind record: all that the rest of the program knows of a kind
rows         rows of the store's common tables; `Reader`, which makes them
names        names of clusters, hosts and crashes; paths are made of them only
reasons      reason codes; refusals: the exception with one of them
limits       units of size, and limits that several rooms need
time         clocks, and times as text
secrets      FURLs and tokens; redaction: secrets found by their form in what hosts send
shown        a report taken apart for people; printable: text without control characters
"""

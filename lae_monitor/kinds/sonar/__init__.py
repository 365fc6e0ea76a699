"""Samples of processes on HPC nodes, as Sonar takes them: what ran where, for whom, and what it used.

Nodes POST them (`sonar ps | curl --data-binary @- .../sonar-freecsv?cluster=NAME`). This replaces Jobanalyzer's infiltrate;
its file tree stays, so its tools still read it. Addresses, replies and the format: docs/sonar.md.

    gather      the listener               auth        who may send for which cluster
    read        archive -> rows            free_csv    the format, and what is checked before anything is stored
    records     one line -> one sample     runs        one run of Sonar -> one mark on the timeline
    waiting     bytes that wait            receipts    what was accepted or refused, into the journal
"""

"""A pretend fleet of 12 hosts in 3 clusters that reports into a real monitor, through its real entrances, on loopback.

Nothing here writes into archive or store: what the pages show has come in as it would from real hosts.

    hosts        who there is                         story        what happens to whom, and when
    processes    what runs on a host at a time        stage        state folder, configuration, ports, passwords
    sonar        the clients that POST samples        fleet        hours of history, then life
    crashes      the clients that POST crashes        announcement what to open and what to try
    incidents    the nodes that publish incidents

The same seed tells the same story; only its times are those of the day.
"""

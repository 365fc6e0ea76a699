"""What every process of ours has, whichever it is.

running     lock, archive, signals, end; `notify()`: its state, to systemd or to our supervisor
logs        the log, for people, the journal or machines
"""

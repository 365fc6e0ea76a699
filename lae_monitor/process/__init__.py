"""One of our processes, whatever it does: what each that systemd or the command line starts has.

running     its lock, its settings in the log, its archive, its signals and its end
logs        its log, for people, the journal or machines
notify      what it says to systemd, or to our own supervisor
"""

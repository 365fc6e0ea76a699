"""What systemd starts, and what `lae-monitor run` starts without it: gatherers, serve, and their supervisor.

gather         one gatherer
serve          mover, store, pages, API, alarms
supervisor     `run`: all processes under one parent
control        what the command line asks of a running `serve`
answering      asks each listener, for `check`
surroundings   what the configuration needs of this host, for `check config`
"""

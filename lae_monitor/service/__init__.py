"""What systemd starts, and what `lae-monitor run` starts where there is no systemd: gatherers, serve, and their supervisor."""

"""What systemd starts, and what `lae-monitor run` starts without it: gatherers, serve, and their supervisor."""

"""See `lae_monitor.kinds.crashes`."""

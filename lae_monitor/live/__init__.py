"""New rows to subscribers."""

"""Rules over what was stored, and who hears of it."""

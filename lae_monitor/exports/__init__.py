"""The same answers in other formats."""

"""A library for other programs; imports nothing of ours."""

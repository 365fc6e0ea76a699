"""Transports that gatherers and `serve` share: HTTP with deadlines, and Foolscap tubs."""

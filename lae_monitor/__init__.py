"""One timeline per host: incidents, crashes and samples of a fleet."""

__version__ = "0.1.0"

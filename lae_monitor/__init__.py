"""One timeline per host: incidents, crashes, samples, stats and logs of a fleet."""

__version__ = "0.1.0"

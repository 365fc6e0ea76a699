"""The words of the domain: names, ids, times, limits, refusals, rows, secrets. No I/O here, ever."""

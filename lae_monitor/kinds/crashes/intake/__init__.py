"""One upload, from its first byte to its answer; memory stays bounded, whatever comes.

collector   the steps in their order: read, decide, make durable, acknowledge
upload      the body as it comes: inflated, cut into parts, each part written where it waits
wire        media type, compression and names of a request; parts cuts a multipart body
admission   decides whether a crash is kept: tokens, a submitted crash id, throttle rules
spool       where a report waits until it is whole
replies     the text that a client reads
metrics     counters and times, under Antenna's names
"""

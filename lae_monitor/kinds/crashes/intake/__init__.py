"""One upload, from its first byte to its answer; memory stays bounded, whatever comes.

collector   read, let in or not, made durable, acknowledged, in this order: here a crash is decided
upload      the body as it comes: inflated, cut into parts, each part written where it waits
wire        media type, compression and names of a request; parts cuts a multipart body
admission   tokens, a submitted crash id, throttle rules
spool       where a report waits until it is whole
replies     the text that a client reads
measures    Antenna's names of what is measured
"""

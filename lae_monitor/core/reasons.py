"""The reason codes: why something is not accepted, one code each.

`raise Refused("inflates_too_far")` (core.refusals) - the reply to the client, the metric's label, the receipt in the journal
and the table in docs/reasons.md all come from here, and for the codes of a kind from its record. A code never changes its
meaning; a new meaning gets a new code.
"""

from typing import Final, NamedTuple


class Reason(NamedTuple):
    """What a code stands for: the HTTP status that carries it, and a sentence for people."""

    code: str
    status: int
    text: str


COMMON: Final = (
    # names
    Reason("bad_cluster_name", 400, "the cluster's name has characters, or a length, that no cluster name can have"),
    Reason("bad_host_name", 400, "the host's name has characters, or a length, that no host name can have"),
    Reason("bad_log_label", 400, "the log's label has characters, or a length, that no label can have"),
    Reason("bad_crash_id", 400, "not a crash id (a UUID whose last 7 characters are a digit and a date)"),
    Reason("bad_furl", 400, "not a FURL (pb://TUBID@HINTS/SWISSNUM)"),
    Reason("bad_archive_path", 400, "not a path inside the archive"),
    # times and sizes
    Reason("bad_time", 400, "not a time in RFC 3339 form"),
    Reason("time_out_of_range", 400, "the time is too far from now to be true"),
    Reason("bad_duration", 400, "not a duration: a number and one of ms, s, m, h, d, w, y"),
    Reason("bad_size", 400, "not a size: a number and one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"),
    # HTTP in general
    Reason("bad_method", 405, "this address does not take that method"),
    Reason("not_found", 404, "there is nothing at this address"),
    Reason("unauthorized", 401, "no credentials, or not the right ones"),
    Reason("bad_content_type", 400, "the Content-Type is not the one that belongs to this address"),
    Reason("bad_parameters", 400, "a parameter of the query is missing, repeated or unknown"),
    Reason("body_too_large", 413, "the body is larger than the limit; do not send it again"),
    Reason("body_incomplete", 400, "the connection ended before the body did"),
    Reason("too_slow", 408, "the request came too slowly and was cut off"),
    Reason("head_too_large", 431, "the request's head is larger than the limit"),
    Reason("inflates_too_far", 413, "the compressed body inflates beyond the limit"),
    Reason("no_space", 503, "every archive root that works is full; try again later"),
    Reason("archive_failed", 503, "no archive root could make this durable; try again later"),
    Reason("already_stored", 409, "the archive has a file of this name; files are never overwritten"),
    Reason("busy", 503, "more is waiting to be stored than the limit; try again later"),
    Reason("shutting_down", 503, "this process is stopping; try again in a moment"),
    Reason("credentials_unreadable", 503, "the credentials cannot be read now, so all are refused; try again later"),
    # FURLs
    Reason("unknown_furl", 404, "no host has this FURL, or it was revoked"),
    Reason(
        "too_many_unclaimed",
        503,
        "more hosts are named by their address only than the limit; claim some, or give FURLs",
    ),
    # reading what is in the archive
    Reason("unreadable", 400, "the reader of this kind could not understand the file"),
    Reason("bad_query", 400, "the search could not be understood"),
    Reason("no_such_report", 404, "no report has this id"),
    Reason("no_such_host", 404, "no host has this name"),
    Reason("store_unavailable", 503, "the store does not answer; what was accepted is safe in the archive"),
    Reason("not_loopback", 403, "web and API answer on loopback addresses only"),
    Reason("needs_token", 401, "only root and the monitor's own account get in without a token"),
    Reason("bad_token", 401, "no token like that is known here; it may have been revoked"),
    Reason("role_too_low", 403, "the role of this token does not allow that"),
    Reason("cross_site", 403, "a page of another site sent this; only our own pages and programs may change something"),
    Reason("bad_config", 400, "the configuration is wrong"),
)

REASONS: Final[dict[str, Reason]] = {  # with those of kinds, once their records are made
    reason.code: reason for reason in COMMON
}

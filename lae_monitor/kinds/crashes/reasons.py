"""Why a crash report is not accepted: the codes of the Socorro family, see docs/crashes.md."""

from typing import Final

from lae_monitor.core.reasons import Reason

REASONS: Final = (
    Reason("malformed_no_content_type", 400, "a crash report without Content-Type"),
    Reason(
        "malformed_wrong_content_type", 400, "a crash report that is neither multipart/form-data nor multipart/mixed"
    ),
    Reason("malformed_no_boundary", 400, "a multipart Content-Type without a boundary"),
    Reason("malformed_no_content_length", 400, "a crash report without a body"),
    Reason("malformed_bad_gzip", 400, "Content-Encoding says gzip, the body is not, or is cut short"),
    Reason("malformed_unknown_encoding", 400, "a Content-Encoding other than gzip, deflate and identity"),
    Reason("malformed_invalid_payload_structure", 400, "the multipart body does not follow its own boundary"),
    Reason("malformed_invalid_json", 400, "the JSON annotations do not parse"),
    Reason("malformed_invalid_json_value", 400, "the JSON annotations are not an object"),
    Reason("malformed_invalid_dump_name", 400, "a file part has a name that the archive reserves"),
    Reason("malformed_no_annotations", 400, "a crash report without any annotation"),
    Reason("malformed_invalid_uuid", 400, "a submitted crash id that is none"),
    Reason("unauthorized_uuid", 401, "a crash report with an id of its own, without the token of a submitter"),
    Reason("throttled", 200, "a throttle rule rejected the report: it is not kept, as configured"),
    Reason("malformed_too_many_parts", 413, "a crash report with more parts than the limit"),
)

"""Why samples are not accepted: the replies of infiltrate, see docs/sonar.md."""

from typing import Final

from lae_monitor.core.reasons import Reason

REASONS: Final = (
    Reason("sonar_bad_method", 403, "Bad method"),
    Reason("sonar_bad_content", 400, "Bad content"),
    Reason("sonar_line_too_long", 400, "a line of the samples is longer than the limit"),
    Reason(
        "sonar_too_many_files", 413, "the post has samples of more hosts and days than the limit; send several posts"
    ),
    Reason("sonar_wrong_cluster", 401, "the credential belongs to another cluster; each may send for its own only"),
)

"""docs/reasons.md has every reason code with its status and its words, and what to do; and no code that does not exist."""

from lae_monitor.core.reasons import COMMON
from lae_monitor.kinds import KINDS

REASONS = {reason.code: reason for reason in (*COMMON, *(reason for kind in KINDS for reason in kind.reasons))}


def rows(page, markdown):
    return {
        markdown.code(row[0]): row[1:]
        for table in markdown.tables(page("reasons.md"))
        for row in table
        if markdown.code(row[0]) is not None
    }


def test_every_code_is_there_and_no_other(page, markdown):
    assert set(rows(page, markdown)) == set(REASONS)


def test_status_and_words_are_those_of_the_registry(page, markdown):
    documented = {code: (status, text) for code, (status, text, _) in rows(page, markdown).items()}
    assert documented == {code: (str(reason.status), reason.text) for code, reason in REASONS.items()}


def test_every_code_says_what_to_do(page, markdown):
    silent = [code for code, (_, _, advice) in rows(page, markdown).items() if len(advice.split()) < 4]
    assert silent == []

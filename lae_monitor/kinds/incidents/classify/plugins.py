"""flogtool's classifiers: files `classify_*.py` that define `classify_incident(trigger)`. Run in the child process only.

As flogtool does, each is run in an empty namespace; the trigger is a plain dictionary; None, "" and [] are no opinion.
"""

from collections.abc import Callable
from typing import Any, Final

from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.incidents.classify.rules import MAX_CATEGORIES, is_category

FUNCTION: Final = "classify_incident"
MAX_ERROR: Final = 300  # characters

# What Python 2 had, and what to write instead; flogtool's folders are old.
_OLD: Final = (
    ("has_key", "use `in`"),
    ("iteritems", "use .items()"),
    ("itervalues", "use .values()"),
    ("iterkeys", "use .keys()"),
    ("unicode", "text is str"),
    ("basestring", "text is str"),
    ("xrange", "use range"),
    ("unichr", "use chr"),
    ("reduce", "use functools.reduce"),
    ("raw_input", "there is no input here"),
    ("'long'", "use int"),
    ("urllib2", "use urllib.request"),
    ("StringIO", "use io.StringIO"),
    ("ConfigParser", "use configparser"),
    ("print", "write print(...)"),
    ("except", "write `except X as e`"),
    ("multiple exception types must be parenthesized", "write `except X as e`"),
    ("leading zeros in decimal integer", "write 0o777"),
    ("inconsistent use of tabs", "indent with one sort of blanks"),
    ("invalid hexadecimal literal", "an int needs no L"),
    ("invalid decimal literal", "an int needs no L"),
    ("bytes-like object", "text is str, and bytes are something else"),
    ("must be str, not bytes", "text is str, and bytes are something else"),
)


class Broken(Exception):
    """Why a classifier has no opinion, in a sentence."""


def load(name: str, text: str) -> Callable[[Any], Any]:
    """The function that the file `name` with the content `text` defines.

    Raises:
        Broken
    """
    namespace: dict[str, Any] = {}
    try:
        exec(compile(text, name, "exec", dont_inherit=True), namespace)  # noqa: S102 - an operator put it there
    except BaseException as error:
        raise Broken(explain(error, name)) from error
    function = namespace.get(FUNCTION)
    if not callable(function):
        raise Broken(f"does not define {FUNCTION}(trigger)")
    return function  # type: ignore[no-any-return] # whatever it is, it can be called


def ask(function: Callable[[Any], Any], trigger: dict[str, Any], name: str) -> list[str]:
    """The categories that it answers.

    Raises:
        Broken
    """
    try:
        answer = function(trigger)
    except BaseException as error:
        raise Broken(explain(error, name)) from error
    if not answer:
        return []
    found = [answer] if isinstance(answer, str) else answer
    if not isinstance(found, list | tuple | set | frozenset) or len(found) > MAX_CATEGORIES:
        raise Broken(f"answered {type(answer).__name__}: it has to be text, or a list of texts")
    for category in found:
        if not is_category(category):
            said = shorten(category) if isinstance(category, str) else type(category).__name__
            raise Broken(f"answered {said}: a category is a-z, 0-9, then . _ - too, 64 characters at most")
    return list(found)


def explain(error: BaseException, name: str) -> str:
    """What went wrong, where in the file, and whether it is because the file is for Python 2."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # noqa: BLE001 - a foreign object's __str__
        text = ""
    line = error.lineno if isinstance(error, SyntaxError) else _line(error, name)
    what = f"{type(error).__name__}: {shorten(text, MAX_ERROR)[1:-1]}" if text else type(error).__name__
    hint = "" if isinstance(error, SystemExit) else _hint(error, text)
    return what + (f", line {line}" if line else "") + hint


def _line(error: BaseException, name: str) -> int:
    found, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _hint(error: BaseException, text: str) -> str:
    if not isinstance(error, SyntaxError | NameError | AttributeError | ImportError | TypeError):
        return ""
    advice = next((advice for old, advice in _OLD if old in text), "")
    return f" (written for Python 2? {advice})" if advice else ""

"""The process that classifies: `python -m` this module, with frames on its standard input and output.

    frame       4 bytes, big endian: how long; then so many bytes
    first       a Setup in JSON  ->  a Loaded in JSON
    then        a Question in JSON, the incident's file as it is  ->  an Opinion in JSON

Only here are classifiers run, and files of nodes unpacked for them and for rules. The process limits
itself, and ends when its time is up; who started it kills it sooner, and reads in the shared memory what it was at.
"""

import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, BinaryIO, Final

import msgspec

from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.kinds.incidents.classify.facts import Incident
from lae_monitor.kinds.incidents.classify.frames import (
    READING,
    SETTING_UP,
    SLOW,
    STEP_SIZE,
    Loaded,
    Opinion,
    Question,
    Setup,
    read_frame,
    write_frame,
)
from lae_monitor.kinds.incidents.classify.rules import MAX_CATEGORIES, Rules, is_category
from lae_monitor.kinds.incidents.wire.flog import unpack
from lae_monitor.kinds.incidents.wire.render import plain_text
from lae_monitor.kinds.rule_files.patterns import TooSlow

MEMORY: Final = 512 * MiB  # of address space; a file takes up to 24 MiB of values, Python and its modules about 100
NICE: Final = 10  # what is being gathered comes first
RULES: Final = 4  # a rule may search for a fourth of the seconds that an incident has
GRACE: Final = 2.0  # seconds beyond the limit until the process ends itself; who started it is sooner
MAX_VERSIONS: Final = 50  # programs that an incident names
MAX_VERSION: Final = 200  # characters


class Child:
    """What is loaded, and how an incident is asked about it. Steps are the rules, then the classifiers, by number."""

    def __init__(self, setup: Setup, steps: mmap.mmap, pipes: tuple[int, ...]) -> None:
        self._shown = steps
        self._pipes = pipes
        self._step = SETTING_UP
        self._begun = time.perf_counter()
        self._seconds: defaultdict[int, float] = defaultdict(float)
        self.loaded = Loaded()
        self._rules = Rules.parse(setup.rules, setup.source)
        self._searching = setup.limit / RULES
        self._functions: dict[int, Callable[[Any], Any]] = {}
        skipped = set(setup.skip)
        self.loaded.steps = [f"rule {name}" for name in self._rules.names]
        for place, (name, text) in enumerate(setup.classifiers):
            number = len(self.loaded.steps)
            self.loaded.steps.append(name)
            if name in skipped:
                continue
            self.begin(place)
            try:
                self._functions[number] = load(name, text)
            except Broken as broken:
                self.loaded.broken[name] = str(broken)
        self.loaded.rules = len(self._rules.names)

    def begin(self, step: int) -> None:
        """Notes the step that begins now, so that the gatherer can name it when it has killed this process."""
        now = time.perf_counter()
        self._seconds[self._step] += now - self._begun
        self._step, self._begun = step, now
        self._shown[:STEP_SIZE] = struct.pack(">i", step)

    def classify(self, question: Question, data: bytes) -> Opinion:
        self._seconds.clear()
        self.begin(READING)
        opinion = Opinion()
        try:
            self._classify(question, data, opinion)
        except Refused as refused:
            opinion.error = str(refused)
        except MemoryError:
            opinion.error = "it takes too much memory"
        self.begin(READING)
        opinion.slow = {
            self.loaded.steps[step]: round(seconds, 3)
            for step, seconds in self._seconds.items()
            if step >= 0 and seconds >= SLOW
        }
        return opinion

    def _classify(self, question: Question, data: bytes, opinion: Opinion) -> None:
        objects = unpack(data)
        first = next(objects, None)
        header = first.get("header") if first is not None else None
        trigger = header.get("trigger") if isinstance(header, dict) else None
        if not isinstance(header, dict) or not isinstance(trigger, dict):
            raise Refused("unreadable", "no header of an incident")
        skipped = set(question.skip)
        incident = Incident(question.cluster, question.host, _versions(header))
        for step, rule in self._rules.apply(
            incident, trigger, self._events(objects), seconds=self._searching, begin=self.begin, skipped=skipped
        ):
            if isinstance(rule, TooSlow):
                opinion.failed[self.loaded.steps[step]] = str(rule)
            else:
                opinion.by[self.loaded.steps[step]] = list(rule.categories)
        for step, function in self._functions.items():
            if step in skipped:
                continue
            self.begin(step)
            try:
                # Each has a trigger of its own, so that none sees what another one changed.
                answer = ask(function, json.loads(json.dumps(trigger)), self.loaded.steps[step])
            except Broken as broken:
                opinion.failed[self.loaded.steps[step]] = str(broken)
            except RecursionError as error:
                opinion.failed[self.loaded.steps[step]] = explain(error, "")
            else:
                if answer:
                    opinion.by[self.loaded.steps[step]] = answer
            self._check_pipes()

    def _check_pipes(self) -> None:
        """Ends the process while it is known who closed what is not his."""
        try:
            for fd in self._pipes:
                os.fstat(fd)
        except OSError:
            os._exit(1)

    def _events(self, objects: Iterator[dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
        while True:
            self.begin(READING)
            try:
                wrapper = next(objects)
            except StopIteration:
                return
            event = wrapper.get("d") if wrapper is not None else None
            if isinstance(event, dict):
                yield event


def _versions(header: dict[str, Any]) -> tuple[str, ...]:
    versions = header.get("versions")
    if not isinstance(versions, dict):
        return ()
    return tuple(f"{name}/{plain_text(value)}"[:MAX_VERSION] for name, value in islice(versions.items(), MAX_VERSIONS))


def _apart() -> tuple[BinaryIO, BinaryIO]:
    """Our ends of the pipes; what a classifier reads is nothing, and what it prints goes to standard error."""
    taken, given = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return taken, given


def _limit_time(seconds: float) -> None:
    """From now on so long; the system's own clocks end even what never comes back into Python."""
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime + seconds + GRACE) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (processor, resource.RLIM_INFINITY))


def main(steps_fd: int) -> None:
    """Answers until the input ends."""
    with suppress(OSError):  # a service's call filter may refuse it
        os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    steps = mmap.mmap(steps_fd, STEP_SIZE)
    os.close(steps_fd)
    taken, given = _apart()
    setup = msgspec.json.decode(read_frame(taken), type=Setup)
    _limit_time(setup.start)
    child = Child(setup, steps, (taken.fileno(), given.fileno()))
    write_frame(given, msgspec.json.encode(child.loaded))
    while True:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        try:
            question = msgspec.json.decode(read_frame(taken), type=Question)
        except EOFError:
            return
        data = read_frame(taken)
        _limit_time(setup.limit)
        write_frame(given, msgspec.json.encode(child.classify(question, data)))
        sys.stderr.flush()


# ---- flogtool's classifiers ------------------------------------------------------------------------------------------
# As with flogtool, each file runs in an empty namespace; the trigger is a plain dictionary; None, "" and [] are no opinion.


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


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""What the spine, the pages and the command line ask of a kind. The list is made in kinds/; service and cli hand it down.

A kind has a name in the plural, `crashes`: that of its room in kinds/, its section `[gatherers.crashes]`, its folder in the
archive, its key in `[retention]`. Its events have one in the singular, `crash`. What is named `"module:attribute"` is
imported when it is used: a gatherer loads nothing of the pages, and nothing of other kinds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from lae_monitor.core.reasons import REASONS, Reason

UNLIMITED: Final = 2**63 - 1  # bytes
JOURNAL: Final = "journal"  # the folder of all that is no report; see archive.journal
_OF_JOURNAL: Final = "lae_monitor.archive.journal:Reader"


class Command(NamedTuple):
    """A command of a kind: where it is, and one line for --help."""

    where: str
    help: str


class Takeover(NamedTuple):
    """How `lae-monitor import` takes over what older collectors have.

    `layouts` names these; `take(invocation, path, terminal.options.Import)` does it and ends the command; `finds(path)` says
    whether theirs is at `path`. The one kind without `finds` is taken when no other kind finds its own.
    `gather(invocation, folder, gather) -> int` runs the gatherer in the place of the older one in `folder`, as `gather KIND
    --stock` does; it ends with the exit code that `gather(kind, settings)` gives.
    """

    layouts: tuple[str, ...]
    take: str
    finds: str = ""
    gather: str = ""


class Classes(NamedTuple):
    """Classes of reports that are kept for another time than most, and the bytes that all reports of the kind may take.

    `keep` has the seconds by class, which `key` of the kind's section of the settings gives.
    """

    keep: dict[str, float] = {}  # noqa: RUF012 - never changed
    room: int = UNLIMITED
    key: str = ""


class Option(NamedTuple):
    """An option of the command line, `--product NAME`; without `metavar` it takes no value."""

    name: str
    help: str
    metavar: str = ""


class Tokens:
    """Tokens by which a kind knows who sends, made by `lae-monitor token`: a line each in a file, `USER:HASH`.

    `whose` names what a user is, such as "cluster"; `called` what one of its tokens is called before the user's name.
    `options` of `token new` say whose one is. `if_none` says what it means that nobody has one. `not_asked` says that the
    settings ask for none, and what would change that.
    """

    whose = ""
    called = ""
    options: tuple[Option, ...] = ()
    if_none = ""
    not_asked = ("", "")

    def file(self, settings: Any) -> Path | None:
        """Where they stand; None when none is asked for."""
        raise NotImplementedError

    def user(self, settings: Any, given: dict[str, Any]) -> str:
        """The user as the file has it.

        Args:
            given: what options were given, by name without dashes; None or False for others.

        Raises:
            ValueError, Refused: in a sentence, why it can be nobody.
        """
        raise NotImplementedError

    def shown(self, user: str) -> str:
        """The user for people."""
        return user

    def following(self, user: str) -> str:
        """What to do with a new one."""
        raise NotImplementedError

    def left_without(self, settings: Any, user: str) -> str:
        """What comes of it that a user has none any more."""
        raise NotImplementedError


class Contact(NamedTuple):
    """A host that a gatherer knows. `heard`: when last, in seconds since the epoch, None for never."""

    cluster: str
    host: str
    is_expected: bool
    heard: float | None


class Contacts(NamedTuple):
    """Whether a gatherer can be reached now, and the hosts that it knows."""

    listens: bool
    hosts: list[Contact]


class Expects(NamedTuple):
    """Hosts that are to report because they were given a way to, whether or not they have sent anything.

    `why` says so, such as "has a FURL"; `contacts(settings, now)` gives the Contacts; `advice` is what to look at when
    `{host}` is silent.
    """

    why: str
    contacts: str
    advice: str


class SearchField(NamedTuple):
    """A field of searches, `NAME:VALUE`, that a table of the kind answers: events with a row of the same `key` there, one of
    whose `column`, an array of words in small letters, is VALUE.

    `example` of a search, and what it finds: `about`.
    """

    name: str
    table: str
    column: str
    example: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of report.

    Args:
        name: in the plural.
        event: the kind of its events.
        room: the package it lives in, which has `config:Settings`, `gather:gather`, `check:check` and `read`, a
            core.rows.Reader: its WHOLE and `cut` say whether files of the archive are read whole, or as they grow.
        keep: how long reports are kept by default, such as "2y"; `about` says what they are.
        reports: the pattern of the paths of its reports in the archive; what else is there, such as cursors, stays. Its
            group `cluster`, if it has one, is the cluster in a path.
        readers: patterns of paths with the module that reads these, where that is not `<room>.read`.
        sections: sections below its own, by name: "crashmover" is `[gatherers.crashes.crashmover]`.
        routine: levels of events that a timeline folds away.
        runs: what many of them in a row are called, such as "runs of Sonar", where a timeline shows these as one.
        regular: what a host does that is expected to go on, such as "sends samples"; "" where silence says nothing.
        expects: the hosts that its gatherer expects, and whose silence is therefore an alarm.
        troubles: finds what is wrong with hosts: `await troubles(store, now) -> dict[str, Condition | str]`, by what each is
            about: the alerts.alarm.Condition, lasting and of the rule "host in trouble", or in words why it holds no longer.
            What is not among them stays as it was.
        same: attributes that are equal in what was sent twice; the first is a word of its own in the text index.
        version: names an SQL expression of an event's `attrs`: the version of what it is about, "" for none.
        formerly: the attribute in which its reader says, a line each, what former versions of it called the event's group.
        why: gives the sentence that says what the events of a group have in common, from the group's name and the
            attributes `why_attributes` of its newest event.
        tables: names the store.schema.Table that only it has, beside `events`: a tuple, each with the struct of its rows.
        search: what can be searched for in these beside its events.
        entries: what the journal holds of it beside receipts: the word of such an entry, and what makes the row:
            `row(entry) -> Row`; an entry has its time in seconds and its place, beside what was written.
        classes: gives the `Classes` that its section of the settings names: `classes(section)`. A crash's is its product.
        class_group: gives the beginning that the groups of a class have, from its name.
        tokens: names its `Tokens`, an object, if one is needed to send.
        companions: gives the processes that `lae-monitor run` starts beside its gatherer, with the words of their command
            lines: `companions(settings) -> dict[str, list[str]]`.
        show: takes a report apart for people: `show(span, data) -> Shown`.
        about_one: gives what the store says about one event, as JSON can hold it: `await about_one(store, event, now)`.
        commands: of the command line, by name; "fleet claim" is one of `lae-monitor fleet`.
        first: of `commands`, with its words, one that sends a report: for a monitor that has none yet.
        trial: of `commands`, with its words, one that tries whether the reports of the host that it is given arrive.
        feed: the address of its Atom feed.
        register: names the fleet.registering.NodeOption by which `fleet register` points nodes at its gatherer, for a kind
            that lets them in by net.furls.
        takeover: of older collectors, by `lae-monitor import`.
        node: gives what a host is made of: `await node(store, cluster, host) -> query.hosts.Node | None`.
        load: gives how busy it was: `await load(store, cluster, host, since, until, bucket) -> query.hosts.Load | None`.
        routes: gives further pages and addresses: `routes(site) -> list[Route]`. Templates in the folder `templates` of its
            room are called `<name>/FILE`; `about.html` there shows what `about_one` gives.
        links: of all pages, to some of these: address and title.
        demo: names what it adds to the pretend fleet of `lae-monitor demo`: a demo.part.Part.
        reasons: why something of it is not accepted, beyond what core.reasons has for all; in force once this is made.
        mark: an SVG path of 16 x 16 that stands for it on a timeline.
    """

    name: str
    event: str
    room: str
    keep: str
    about: str
    reports: str
    readers: tuple[tuple[str, str], ...] = ()
    sections: tuple[str, ...] = ()
    routine: tuple[str, ...] = ()
    runs: str = ""
    regular: str = ""
    expects: Expects | None = None
    troubles: str = ""
    same: tuple[str, ...] = ()
    version: str = ""
    formerly: str = ""
    why: str = ""
    why_attributes: tuple[str, ...] = ()
    tables: str = ""
    search: tuple[SearchField, ...] = ()
    entries: tuple[tuple[str, str], ...] = ()
    classes: str = ""
    class_group: str = ""
    tokens: str = ""
    companions: str = ""
    show: str = ""
    about_one: str = ""
    commands: tuple[tuple[str, Command], ...] = ()
    first: str = ""
    trial: str = ""
    feed: str = ""
    register: str = ""
    takeover: Takeover | None = None
    node: str = ""
    load: str = ""
    routes: str = ""
    links: tuple[tuple[str, str], ...] = ()
    demo: str = ""
    reasons: tuple[Reason, ...] = ()
    mark: str = ""

    def __post_init__(self) -> None:
        REASONS.update({reason.code: reason for reason in self.reasons})

    @cached_property
    def is_report(self) -> re.Pattern[str]:
        """Matches from its beginning the path of a report."""
        return re.compile(self.reports)

    @property
    def why_expected(self) -> tuple[str, ...]:
        """For what reasons a host is expected to report in this kind; its gatherer has to run to know that it is silent."""
        return tuple(why for why in (self.regular, self.expects.why if self.expects else "") if why)

    def part(self, name: str) -> Any:
        """`gather:gather` of its room."""
        return load(f"{self.room}.{name}")

    def reader(self, path: str) -> Any:
        """The module that reads the archive's file `path` (core.rows.Reader)."""
        return load(next((module for pattern, module in self.readers if re.match(pattern, path)), f"{self.room}.read"))


FIELDS: Final = ("kind", "cluster", "host", "level", "group", "id", "title", "since", "until")  # of every search
ENTRIES: Final = ("receipt", "decision", "mark", "alarm")  # of every journal
OF_JOURNAL: Final = ("alarm", "mark")  # kinds of events beside those of the kinds of reports
_NAME: Final = re.compile(r"[a-z][a-z0-9]*")


class Kinds(tuple[Kind, ...]):
    """All kinds, in the order in which they are shown.

    Raises:
        ValueError: a name is none, or stands for two things.
    """

    __slots__ = ()

    def __new__(cls, kinds: Iterable[Kind] = ()) -> Self:
        self = super().__new__(cls, kinds)
        for what, taken, names in (
            ("name", (JOURNAL,), self.names),
            ("event", OF_JOURNAL, self.events),
            ("search field", FIELDS, [field.name for kind in self for field in kind.search]),
            ("entry", ENTRIES, [entry for kind in self for entry, _ in kind.entries]),
        ):
            for name, times in Counter((*taken, *names)).items():
                if times > 1 or not _NAME.fullmatch(name):
                    raise ValueError(f"{what} of a kind: {name!r} " + ("is taken" if times > 1 else "is no name"))
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in self)

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(kind.event for kind in self)

    @property
    def folders(self) -> tuple[str, ...]:
        """The top folders of the archive that are read."""
        return (*self.names, JOURNAL)

    @property
    def search(self) -> dict[str, SearchField]:
        return {field.name: field for kind in self for field in kind.search}

    @property
    def regular(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in self if kind.regular)

    def named(self, name: str) -> Kind | None:
        return next((kind for kind in self if kind.name == name), None)

    def of_event(self, event: str) -> Kind | None:
        return next((kind for kind in self if kind.event == event), None)

    def of_path(self, path: str) -> Kind | None:
        """The kind whose folder has the archive's file `path`."""
        return self.named(path.partition("/")[0])

    def cluster_of(self, path: str) -> str:
        """The cluster that the path of a report names; "" for none."""
        kind = self.of_path(path)
        found = kind.is_report.match(path) if kind is not None else None
        return found.groupdict().get("cluster", "") if found is not None else ""

    def reader(self, path: str) -> Any:
        """What reads the archive's file `path`; None for a file that nothing reads."""
        if path.startswith(f"{JOURNAL}/"):
            return load(_OF_JOURNAL)({what: load(where) for kind in self for what, where in kind.entries})
        kind = self.of_path(path)
        return kind.reader(path) if kind is not None else None

    @property
    def first(self) -> list[str]:
        """What to run to see a report for the first time."""
        return [*(f"lae-monitor {kind.first}" for kind in self if kind.first), "lae-monitor demo"]

    @property
    def registering(self) -> tuple[Kind, ...]:
        """Those whose hosts have a FURL each."""
        return tuple(kind for kind in self if kind.register)

    def commands(self, group: str = "") -> Iterator[tuple[str, Command]]:
        """The commands below `group`, by their names there."""
        for kind in self:
            for words, command in kind.commands:
                above, _, name = words.rpartition(" ")
                if above == group:
                    yield name, command


def load(where: str) -> Any:
    """The module, or with a colon what is in it, that `where` names."""
    module, _, attribute = where.partition(":")
    found: Any = import_module(module)
    return getattr(found, attribute) if attribute else found

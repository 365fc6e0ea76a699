"""Which program a report is of is read once: what a token lets in, rules decide about, and people see is the same to the letter."""

import gzip
import json
import random
import secrets
import struct
import tomllib
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lae_monitor.core.names import CrashId
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.form import minidump
from lae_monitor.kinds.crashes.minidump import CRASHPAD_INFO, crashpad_annotations, looking
from lae_monitor.kinds.crashes.program import MAX_LENGTH, NAMES, UNKNOWN, Program, clean, program_of
from lae_monitor.kinds.crashes.read import group_of, read
from lae_monitor.kinds.crashes.throttle.rules import Rules
from lae_monitor.kinds.crashes.tokens import SUBMITTER, Tokens, user_of
from lae_monitor.net.passwords import hash_password

CASES = [
    pytest.param(case, id=case["name"])
    for case in tomllib.loads((Path(__file__).parent / "cases" / "program-clients.toml").read_text())["case"]
]
SEED = secrets.randbelow(2**32)
NOW = 1795340674.5
FURL = "pb://" + "a" * 32 + "@tcp:host:1/" + "q" * 32


def dump_with(annotations, padding=0):
    """A minidump in which Crashpad wrote down `annotations`."""
    data = bytearray(minidump(NOW))
    count, directory = struct.unpack_from("<II", data, 8)
    moved = len(data)
    data += data[directory : directory + 12 * count] + bytes(12 + padding)
    struct.pack_into("<II", data, 8, count + 1, moved)
    places = []
    for text in (text for pair in annotations.items() for text in pair):
        places.append(len(data))
        data += struct.pack("<I", len(text.encode())) + text.encode() + b"\0"
    pairs = len(data)
    data += struct.pack(f"<{1 + len(places)}I", len(annotations), *places)
    struct.pack_into("<III", data, moved + 12 * count, CRASHPAD_INFO, 52, len(data))
    return bytes(data + struct.pack("<I32xIIII", 1, 4 + 4 * len(places), pairs, 0, 0))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Makes the token file of a gatherer that is started in `folder`."""

    def make(folder, **secrets_of):
        path = folder / "state" / "credentials" / "crashes" / "tokens.txt"
        path.parent.mkdir(parents=True)
        users = {SUBMITTER if name == "submitter" else user_of(name): secret for name, secret in secrets_of.items()}
        path.write_text("".join(f"{user}:{hash_password(secret)}\n" for user, secret in users.items()))
        path.chmod(0o600)

    return make


def row_of(stored_path):
    data = stored_path.read_bytes()
    (event,) = read(Span(f"crashes/{stored_path.parent.name}/{stored_path.name}", 0, len(data)), data)
    return event


class Desk:
    """A gatherer that wants a token for "My Editor", and what becomes of one report there."""

    def __init__(self, gatherer):
        self.gatherer = gatherer

    def row(self, *parts, **options):
        """Posted by who may send anything: the row that it becomes."""
        status, text = self.post(*parts, token="anything", **options)
        assert status == 200, text
        crash_id = CrashId(text.strip().removeprefix("CrashID=bp-"))
        return row_of(self.gatherer.folder / "crashes" / crash_id.day / f"{crash_id}.zip")

    def post(self, *parts, token="", body=None, path="/submit", query="", media="multipart/form-data; boundary=B"):
        headers = {"Content-Type": media, **({"Authorization": f"Bearer {token}"} if token else {})}
        if body is None:
            body = b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + b"--B--\r\n"
        status, text, _ = self.gatherer.post(body, headers, quote(path) + (f"?{query}" if query else ""))
        return status, text


@pytest.fixture
def desk(running, tokens, tmp_path):
    tokens(tmp_path, **{"My Editor": "right", "submitter": "anything"})
    with running() as gatherer:
        yield Desk(gatherer)


def shown(event):
    """The program of a row, by its attributes; the rest of the row has to agree."""
    told = {name: event.attrs[name] for name in Program._fields if name in event.attrs}
    assert event.group.startswith(f"{told['product']} | ")
    assert event.title.startswith(f"{told['product']} {told.get('version', '')}".strip() + " crashed")
    return told


def test_each_client_is_shown_as_what_it_sent(desk, field, file):
    for case in (param.values[0] for param in CASES):
        dump = dump_with(case["inside"]) if "inside" in case else minidump(NOW)
        parts = [field(name, value) for name, value in case.get("form", {}).items()]
        if "event" in case:
            event = msgspec.msgpack.encode(case["event"])
            parts.append(file("__sentry-event", event, filename="__sentry-event"))
        options = {"path": case.get("path", "/submit"), "query": case.get("query", "")}
        if case.get("bare"):
            options |= {"body": dump, "media": "application/octet-stream"}
        found = desk.row(*parts, file("upload_file_minidump", dump), **options)
        assert shown(found) == case["expected"], case["name"]


def smuggled(field):
    """Forms that were meant to look like "My Editor" and be none, or the reverse: name, parts."""
    name = "ProductName"
    texts = (
        "My Editor", "My\tEditor", "My  Editor", "My\u200bEditor", "My \u200bEditor", "My\u00a0Editor", "My\u2028Editor",
        "\u202eMy Editor", "My\u2066 Editor\u2069", "\ufeffMy Editor", "My\u0000 Editor", "My Editor\u3164", "My\u2800Editor",
        "M\u034fy Editor", "My\ufe0f Editor", "my editor", "My Edit\u00f6r", "My Edito\u0308r", "My\u001fEditor", "My\u007f Editor",
        "My Editor" + " " * 300, " " * 300 + "My Editor", "My Editor" + "x" * 300, "My Editor\r\n", "My\u180eEditor", "My\u00ad Editor",
    )  # fmt: skip
    for text in texts:
        yield ascii(text), [field(name, text)]
        yield f"JSON {text!a}", [field("extra", json.dumps({name: text}), "Content-Type: application/json\r\n")]
    for first in ("", " ", "\u200b", "\t", UNKNOWN):
        yield f"{first!a} and a second field", [field(name, first), field("prod", "My Editor")]
        yield f"{first!a} and a third", [field("prod", "My Editor"), field("_productName", first), field(name, first)]
    for pair in NAMES:
        yield f"only {pair[0]}", [field(pair[0], "My Editor")]
        yield f"{pair[0]} before another", [field(pair[0], "Other"), field("application", "My Editor")]
    yield "twice", [field(name, "Other"), field(name, "My Editor")]
    yield "twice, the other way", [field(name, "My Editor"), field(name, "Other")]
    as_json = field("extra", json.dumps({name: "Other"}), "Content-Type: application/json\r\n")
    yield "JSON and field", [as_json, field(name, "My Editor")]
    yield "field and JSON", [field(name, "My Editor"), as_json]
    for odd in ("ProductName ", "ProductName\u200b", "productname", "\u00a0ProductName", "ProductName\t"):
        yield f"the name {odd!a}", [field(odd, "My Editor"), field("guid", "g")]
        yield f"the name {odd!a} beside another", [field(name, "Other"), field(odd, "My Editor")]
    for value in ({"a": 1}, ["My Editor"], None, True, 7):
        part = field("extra", json.dumps({name: value, "prod": "My Editor"}), "Content-Type: application/json\r\n")
        yield f"JSON value {value!r}", [part]
    yield "Sentry's release", [field("sentry[release]", "My Editor@1")]
    yield "removed", [field("Email", "a@b.c"), field("prod", "My Editor")]


def test_a_token_lets_in_exactly_what_is_shown_as_its_product(desk, field):
    wrong = []
    for name, parts in smuggled(field):
        product = shown(desk.row(*parts))["product"]
        refused = desk.post(*parts)[0] == 401
        let_in = desk.post(*parts, token="right")[0] == 200
        assert let_in  # the token of a product is no hindrance for others
        if refused != (product == "My Editor"):
            wrong.append((name, product, refused))
    assert not wrong


def test_annotations_within_dumps_and_sentrys_event_are_checked_too(desk, file, field):
    for where in ("small", "in a temporary file"):
        padding = 2_000_000 if where != "small" else 0
        inner = dump_with({"prod": "My\u200b \tEditor"}, padding)
        event = msgspec.msgpack.encode({"release": "My  Editor@1"})
        ways = {
            "bare": {"body": inner, "media": "application/octet-stream"},
            "form": {"parts": [field("guid", "g"), file("upload_file_minidump", inner)]},
            "event": {"parts": [field("guid", "g"), file("__sentry-event", event), file("more", bytes(padding))]},
            "project": {"parts": [field("guid", "g")], "path": "/api/My \u200bEditor/minidump/"},
        }
        if not padding:
            ways["gzip"] = {
                "body": None,
                "parts": [field("guid", "g"), file("upload_file_minidump", gzip.compress(inner))],
            }
        for name, options in ways.items():
            parts = options.pop("parts", [])
            assert desk.post(*parts, **options)[0] in {401, 404}, (where, name)
            if "\u200b" not in options.get("path", ""):
                assert shown(desk.row(*parts, **options))["product"] == "My Editor", (where, name)


def test_annotations_that_are_not_kept_name_no_product(running, tokens, tmp_path, field):
    tokens(tmp_path, **{"My Editor": "right", "submitter": "anything"})
    with running(removed_fields=("ProductName",)) as gatherer:
        desk = Desk(gatherer)
        parts = [field("ProductName", "Other"), field("prod", "My Editor")]
        assert desk.post(*parts)[0] == 401
        assert shown(desk.row(*parts))["product"] == "My Editor"


def test_the_answer_for_old_versions_goes_by_the_same_value(running, field):
    with running(end_of_life={"My  Editor": ["1.*"]}) as gatherer:
        for parts in (
            [field("prod", "My\tEditor"), field("ver", "1.\u200b2")],
            [field("application", "My Editor"), field("version", "1.2")],
        ):
            assert gatherer.submit(*parts)[1].endswith("StopSendingReportsFor=1.2\n")


# ---- the normal form ---------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
@example("a" * 99 + "  b")
@example("a" * 98 + " \u200bb")
@example("a" * 80 + FURL)
@example(FURL)
@example("Cafe\u0301")
@example("\ud800|\u1100\u1161")
@example("e" + "\u0301" * 250)
def test_the_form_is_one_printable_line_and_stays_what_it_is(text):
    once = clean(text)
    assert clean(once) == once
    assert len(once) <= MAX_LENGTH
    assert once.isprintable() and once == once.strip() and "  " not in once and "|" not in once
    assert clean(f" {text[:200]}\u200b\n") == clean(text[:200])
    assert group_of(clean(text) or UNKNOWN, "sig").partition(" | ")[::2] == (clean(text) or UNKNOWN, "sig")


def test_looks_decide_and_letter_case_counts():
    assert clean("Cafe\u0301") == clean("Caf\u00e9") == "Caf\u00e9"
    assert clean("a|b") == "a/b"
    assert clean("Firefox") != clean("firefox")
    assert clean(FURL) == clean(f"see {FURL}") == "***"
    assert (clean(7), clean(1.5), clean(None), clean(["x"]), clean({})) == ("7", "1.5", "", "", "")
    assert clean("x" * 10_000_000) == "x" * MAX_LENGTH


@given(st.dictionaries(st.sampled_from([name for pair in NAMES for name in pair] + ["sentry", "sentry[release]", "sentry__1"]),
                       st.text(max_size=30) | st.integers() | st.none() | st.lists(st.text(), max_size=2)
                       | st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2)))  # fmt: skip
def test_whatever_is_sent_names_one_program_and_order_does_not_matter(form):
    found = program_of(form)
    assert found == program_of(dict(reversed(form.items())))
    assert all(clean(text) == text for text in found) and found.product


def test_hostile_json_msgpack_and_dumps_name_nothing():
    for text in ("[" * 100_000, "{" * 100_000, '{"release":' * 50_000, '{"release": {}}', "{}" * 200_000, "{\ud800"):
        assert program_of({"sentry": text, "sentry__1": text}) == Program()
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    whole = dump_with({"prod": "P", "ver": "1"})
    assert crashpad_annotations(looking(whole)) == {"prod": "P", "ver": "1"}
    for _ in range(300):
        broken = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(chance.randrange(8)):
            if broken:
                struct.pack_into("<B", broken, chance.randrange(len(broken)), chance.randrange(256))
        crashpad_annotations(looking(broken))
    offsets = bytearray(whole)
    for place in range(0, len(whole) - 4, 4):
        kept = offsets[place : place + 4]
        offsets[place : place + 4] = b"\xff" * 4
        crashpad_annotations(looking(offsets))
        offsets[place : place + 4] = kept


# ---- who uses it -------------------------------------------------------------------------------------------------------


def test_tokens_of_older_releases_count_in_the_form_in_which_products_are_shown(tmp_path):
    path = tmp_path / "tokens.txt"
    users = {"Cafe%CC%81%20%20%7C%20Bar": "one", "%2Asubmitter%2A": "two", SUBMITTER: "three"}
    path.write_text("".join(f"{user}:{hash_password(secret)}\n" for user, secret in users.items()))
    tokens = Tokens(path)
    for product, secret in (("Caf\u00e9 / Bar", "one"), ("*submitter*", "two")):
        with pytest.raises(Exception, match="unauthorized"):
            tokens.check(product, ["wrong"])
        tokens.check(product, [secret])
        tokens.check(product, ["three"])
    with pytest.raises(Exception, match="unauthorized"):
        tokens.check_submitter(["two"])


def test_rules_see_the_one_value():
    rules = Rules.parse(
        'products = ["My  Editor"]\n[[rule]]\nname = "child"\nkey = "ProcessType"\nin = ["renderer"]\nresult = "defer"\n'
        '[[rule]]\nname = "old"\nkey = "Version"\nequals = "1\\t2"\nresult = "reject"\n'
        '[[rule]]\nname = "absent"\nabsent = ["ReleaseChannel"]\nresult = "ignore"\n[[rule]]\nname = "rest"\nresult = "accept"\n',
        "f.toml",
    )

    def rule(**form):
        return rules.decide(form, program=program_of(form), crash_id="x" * 36, now=NOW, random=lambda: 0.5).rule

    assert rule(ProductName="My\u200b \tEditor", ReleaseChannel="x") == "rest"
    assert rule(ProductName="My Editor", _productName="Other") == "unsupported_product"
    assert rule(ProductName="Other", _productName="My Editor", channel="beta") == "rest"
    assert rule(prod="My Editor", ptype="renderer") == "child"
    assert rule(prod="My Editor", ver=" 1  2 ") == "old"
    assert rule(prod="My Editor", ReleaseChannel="") == "rest"
    assert rule(prod="My Editor") == "absent"


def test_crashes_are_handed_on_by_the_one_value():
    def product(**document):
        return Crash(CrashId("a1b2c3d4-0000-4000-8000-000000261122"), b"", document, {}).product

    assert product(ProductName="My\tEditor") == product(metadata={"replaced": {}}, prod="My  Editor") == "My Editor"
    assert product(metadata={"replaced": {"version": "1"}}) == UNKNOWN
    inner = {"upload_file_minidump": dump_with({"prod": "Inner"})}
    assert Crash(CrashId("a1b2c3d4-0000-4000-8000-000000261122"), b"", {}, inner).product == "Inner"

"""Whatever stands in tahoe.cfg: the real Tahoe reads the new value and all else as before, and no other line changes."""

import configparser
import io
import re
from collections import Counter

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lae_monitor.fleet.tahoe_cfg import BadFile, BadOption, get, set_option, unset_option, without_secrets

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Tahoe's libraries
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECTIONS = ["node", "client", "Node", "a b", "storageclient.plugins.x-v1"]
OPTIONS = ["log_gatherer.furl", "reveal-IP-address", "x", "X", "x.y", "a b", "ключ"]
BOM = b"\xef\xbb\xbf"

blanks = st.text(" \t", max_size=3)
words = st.text(st.sampled_from("ab1%#;=:[]() ,ж\x1c\xa0\r"), max_size=8)
values = words | st.sampled_from(["1", "%(x)s", "50%%", "50%", "pb://t@h:1/s", "[node]", "x = 1", "#x ="])
names = st.sampled_from(OPTIONS)
delimiters = st.sampled_from(["=", " = ", ":", " : ", ": ", "\t=\t", "= "])
contents = st.one_of(
    st.builds("[{}]".format, st.sampled_from([*SECTIONS, "DEFAULT"])),
    st.builds("{}{}{}".format, names, delimiters, values),
    st.builds("{}{}{}".format, names, delimiters, values),
    st.builds("#{}{}{}{}".format, blanks, names, delimiters, st.just("") | values),
    st.builds("{}{}".format, st.sampled_from("#;"), words),
    st.just(""),
    values,
)
lines = st.builds(
    "{}{}{}{}".format, st.just("") | blanks, contents, st.just("") | blanks, st.sampled_from(["\n", "\n", "\r\n", "\r"])
)
built = st.builds("{}[{}]\n{}{}".format, st.just("# c\n") | st.just(""), st.sampled_from(SECTIONS), st.lists(lines, max_size=12).map("".join), st.just("") | contents)  # fmt: skip
wild = st.text(st.sampled_from("[]=:#; \t\r\n\nnodex%()\x1c\xa0\ufeff"), max_size=60).map("[node]\n{}".format)
texts = built | wild


def good(value):
    """Whether it may be asked for: refusals have a test of their own."""
    return value == value.strip() and not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", value)


new_values = st.one_of(
    words.map(str.strip).filter(good),
    st.sampled_from(["", "1", "%", "%(x)s", "%%", "= 1", "[x]", "pb://t@h:1/s"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\u2028\u2029")).map(str.strip).filter(good),
).filter(lambda value: "#" not in value)


def as_read(text):
    """What a program gets that opens the file as text, as Tahoe does: every kind of line end is one."""
    return io.StringIO(text, newline=None).read()


def parsed(text):
    """As Tahoe's own code reads it from a file."""
    from allmydata.node import config_from_string
    from allmydata.util.configutil import ValidConfiguration

    try:
        return config_from_string("/nowhere", "", as_read(text), ValidConfiguration.everything()).config
    except configparser.Error:
        return None


def all_of(parser):
    """What is written for each option, before one is put into the other: that is not what an edit of one keeps."""
    found = {section: dict(parser.items(section, raw=True)) for section in parser.sections()}
    return found, dict(parser.defaults())


def without(found, section, option):
    options, defaults = found
    options = {name: dict(held) for name, held in options.items()}
    options.setdefault(section, dict(defaults)).pop(option.lower(), None)
    return options, defaults


def is_of(option, line):
    """A line that sets or comments out the option, or may continue it."""
    text = line.decode()
    named = re.match(r"\s*[#;]?\s*(.*?)\s*[=:]", text)
    return (named and named[1].lower() == option.lower()) or (text[:1].isspace() and text.strip()[:1] not in ("#", ";"))


def check_lines(before, after, section, option):
    """Each line that went is the option's; each that came is, or makes its section. All others are there, in order."""
    old, new = (re.split(rb"\r\n|\n|\r", data) for data in (before, after))
    gone, came = Counter(old) - Counter(new), Counter(new) - Counter(old)
    assert all(is_of(option, line) for line in gone if line.strip())
    mine = [line for line in came.elements() if line.strip() not in (b"", b"[%b]" % section.encode())]
    assert len(mine) <= 1
    assert all(is_of(option, line) for line in mine)
    assert came[b"[%b]" % section.encode()] <= 1
    rest = iter(new)
    assert all(line in rest for line in old if line.strip() and not is_of(option, line)), "they are in another order"


@given(texts, st.sampled_from(SECTIONS), names, new_values, st.booleans())
@example("[node]\na = 1\n#x =\n  2\n", "node", "x", "4", False)
@example("[node]\n  a = 1\n#x =\n  b = 2", "node", "x", "4", True)
@example("[client]\n [node]\nx = %\n", "client", "x", "4", False)
@example("[client]\na =\n#x =\n %\na =\n", "client", "x", "4", False)
@example("# c\r[node]\rx = 1\rlog_gatherer.furl = 2\r", "node", "log_gatherer.furl", "4", False)
def test_tahoe_reads_what_was_set_and_all_else_as_before(text, section, option, value, with_mark):
    before = parsed(text)
    assume(before is not None and not text.startswith("\ufeff"))
    data = (BOM if with_mark else b"") + text.encode()
    changed = set_option(data, section, option, value)
    after = parsed(changed.decode("utf-8-sig"))
    assert after.get(section, option) == value == get(changed, section, option)
    assert without(all_of(before), section, option) == without(all_of(after), section, option)
    assert changed.startswith(BOM) is with_mark
    assert set_option(changed, section, option, value) is changed
    check_lines(data, changed, section, option)
    try:
        was = before.get(section, option) if before.has_option(section, option) else None
    except configparser.InterpolationError:
        was = None
    if was == value:
        assert changed is data


@given(texts, st.sampled_from(SECTIONS), names)
def test_tahoe_reads_no_more_what_was_unset_and_all_else_as_before(text, section, option):
    before = parsed(text)
    assume(before is not None and not text.startswith("\ufeff"))
    data = text.encode()
    if option.lower() in before.defaults() and before.has_section(section):
        with pytest.raises(BadFile, match="DEFAULT"):
            unset_option(data, section, option)
        return
    changed = unset_option(data, section, option)
    after = parsed(changed.decode())
    assert not after.has_option(section, option)
    assert without(all_of(before), section, option)[0].items() >= without(all_of(after), section, option)[0].items()
    assert unset_option(changed, section, option) is changed
    check_lines(data, changed, section, option)
    if not before.has_option(section, option):
        assert changed is data


@given(texts, st.sampled_from(SECTIONS), names, new_values)
def test_unset_and_set_again_gives_the_bytes_of_set(text, section, option, value):
    before = parsed(text)
    assume(before is not None and not text.startswith("\ufeff") and option.lower() not in before.defaults())
    data = text.encode()
    commented = rf"(?mi)^\s*[#;]\s*{re.escape(option)}\s*[=:]\s*$"
    assume(not (before.has_option(section, option) and re.search(commented, text)))  # which was which?
    changed = set_option(data, section, option, value)
    assume(changed is not data)  # else blanks around a delimiter may come back as they are usual
    assert set_option(unset_option(changed, section, option), section, option, value) == changed
    assert set_option(unset_option(data, section, option), section, option, value) == changed


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from([b"\n", b"\r\n", b""]))
def test_bytes_of_any_kind_stay_in_comments_and_values(first, second, ending):
    """Tahoe cannot read what is not UTF-8; they are nobody's to change all the same."""
    first, second = (re.sub(rb"[\r\n]", b"\0", part) for part in (first, second))
    data = b"#" + first + b"\n[node]\na =" + second + b"\n#x =" + ending
    assert set_option(data, "node", "x", "ж") == data.replace(b"\n#x =", "\nx = ж".encode())


@given(st.binary(max_size=80) | texts.map(str.encode), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_nothing_else_is_ever_raised(data, section, option, value):
    """And what is written is read again: by the configparser that Tahoe has, in bytes that it may not be able to read."""
    try:
        changed = set_option(data, section, option, value)
    except (BadOption, BadFile):
        return
    assert get(changed, section, option) == value
    reader = configparser.ConfigParser(strict=False)
    reader.read_string(as_read(changed.decode("utf-8-sig", "surrogateescape")))
    assert reader.get(section, option) == value
    unset = unset_option(changed, section, option) if option.lower() not in reader.defaults() else changed
    assert isinstance(without_secrets(unset, section, option), str)


@given(
    texts,
    st.sampled_from(["pb://SECRET@h:1/SECRET", "URI:DIR2:SECRET", "http://u:SECRET@h/"]),
    st.randoms(use_true_random=False),
)
def test_a_secret_is_shown_in_no_file(text, secret, random):
    """Wherever it stands: as a value, amid one, in a comment, as a name."""
    lines = text.splitlines(keepends=True)
    at = random.randint(0, len(lines))
    text = "".join([*lines[:at], random.choice(["", "  ", "#", "# ", "x = ", "#x: "]), secret, "\n", *lines[at:]])
    assume(parsed(text) is not None)
    assert "SECRET" not in without_secrets(text.encode(), "node", "x")


@given(texts, names)
def test_what_is_shown_has_the_lines_of_the_file(text, option):
    assume(parsed(text) is not None)
    shown = without_secrets(text.encode(), "node", option)
    assert shown.count("\n") == text.count("\n")
    assert shown.count("\r\n") == text.count("\r\n")

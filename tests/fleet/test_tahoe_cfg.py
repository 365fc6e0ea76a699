"""An edit of tahoe.cfg: one option's line changes, no other byte does, and the real Tahoe reads what was meant."""

import ast
import re
import subprocess
import sys
from configparser import InterpolationError
from pathlib import Path

import pytest

from lae_monitor.fleet import tahoe_cfg
from lae_monitor.fleet.tahoe_cfg import BadFile, BadOption, get, set_option, unset_option, without_secrets

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Tahoe's libraries
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

FURL = "pb://abcdefghijklmnopqrstuvwxyz234567@tcp:monitor.example:3118/swissnumswissnumswissnumswissnum"


def tahoe_reads(data):
    """All that the real Tahoe-LAFS finds in a configuration; None for what it cannot read."""
    from allmydata.node import config_from_string
    from allmydata.util.configutil import ValidConfiguration

    config = config_from_string("/nowhere", "", data.decode("utf-8-sig"), ValidConfiguration.everything())

    def read(section, option):
        try:
            return config.config.get(section, option)
        except InterpolationError:
            return None

    found = {section: config.config.options(section) for section in config.config.sections()}
    return {section: {option: read(section, option) for option in options} for section, options in found.items()}


# name: before, section, option, value, after
SET = {
    "in the place of its empty comment": (
        b"[node]\nnickname = n\n\n#log_gatherer.furl =\n#timeout.keepalive =\n[client]\n", "node", "log_gatherer.furl", FURL,
        b"[node]\nnickname = n\n\nlog_gatherer.furl = " + FURL.encode() + b"\n#timeout.keepalive =\n[client]\n",
    ),
    "in its own line": (b"[node]\na = 1\nx = 2\nb = 3\n", "node", "x", "new", b"[node]\na = 1\nx = new\nb = 3\n"),
    "in its own line, beside a comment of its name": (
        b"[node]\n#x =\nx = 2\n#x =\n", "node", "x", "new", b"[node]\n#x =\nx = new\n#x =\n",
    ),
    "below a comment that has a value": (
        b"[node]\n#x = 3\n#y =\n", "node", "x", "4", b"[node]\n#x = 3\nx = 4\n#y =\n",
    ),
    "rather in an empty comment than below one with a value": (
        b"[node]\n#x =\n#x = 3\n", "node", "x", "4", b"[node]\nx = 4\n#x = 3\n",
    ),
    "in the last of the empty comments": (b"[node]\n#x =\n#x =\n", "node", "x", "4", b"[node]\n#x =\nx = 4\n"),
    "in a comment with a semicolon": (b"[node]\n; x =\n", "node", "x", "4", b"[node]\nx = 4\n"),
    "not in a comment of a longer name": (
        b"[node]\n#x.y =\n##x =\n# set x = 1\n", "node", "x", "4", b"[node]\n#x.y =\n##x =\n# set x = 1\nx = 4\n",
    ),
    "not in another section's comment": (
        b"[client]\n#x =\n[node]\na = 1\n", "node", "x", "4", b"[client]\n#x =\n[node]\na = 1\nx = 4\n",
    ),
    "not in another section's option": (
        b"[client]\nx = 1\n[node]\nx = 2\n[storage]\nx = 3\n", "node", "x", "4",
        b"[client]\nx = 1\n[node]\nx = 4\n[storage]\nx = 3\n",
    ),
    "sections are told apart by case": (
        b"[Node]\nx = 1\n", "node", "x", "4", b"[Node]\nx = 1\n\n[node]\nx = 4\n",
    ),
    "options are not, and keep theirs": (
        b"[node]\nreveal-IP-address = true\n", "node", "Reveal-ip-ADDRESS", "false", b"[node]\nreveal-IP-address = false\n",
    ),
    "a comment's spelling is kept": (b"[node]\n#Web.Port =\n", "node", "web.port", "1", b"[node]\nWeb.Port = 1\n"),
    "at the end of the section": (
        b"[node]\na = 1\n\n\n# What clients need\n# to know\n[client]\nb = 2\n", "node", "x", "4",
        b"[node]\na = 1\nx = 4\n\n\n# What clients need\n# to know\n[client]\nb = 2\n",
    ),
    "below the section's own last comment": (
        b"[node]\na = 1\n#b = 2\n\n[client]\n", "node", "x", "4", b"[node]\na = 1\n#b = 2\nx = 4\n\n[client]\n",
    ),
    "at the end of the file": (b"[node]\na = 1\n\n\n", "node", "x", "4", b"[node]\na = 1\nx = 4\n\n\n"),
    "in an empty section": (b"[node]\n[client]\n", "node", "x", "4", b"[node]\nx = 4\n[client]\n"),
    "in a new section": (b"[node]\na = 1\n", "client", "x", "4", b"[node]\na = 1\n\n[client]\nx = 4\n"),
    "in a new section after a blank line": (b"[node]\n\n", "client", "x", "4", b"[node]\n\n[client]\nx = 4\n"),
    "in a new section, without a last line break": (
        b"[node]\na = 1", "client", "x", "4", b"[node]\na = 1\n\n[client]\nx = 4",
    ),
    "in an empty file": (b"", "client", "x", "4", b"[client]\nx = 4\n"),
    "in a file of comments": (b"# mine\n", "client", "x", "4", b"# mine\n\n[client]\nx = 4\n"),
    "the last line has no line break": (b"[node]\na = 1", "node", "x", "4", b"[node]\na = 1\nx = 4"),
    "the option's line has none": (b"[node]\nx = 1", "node", "x", "4", b"[node]\nx = 4"),
    "the comment has none": (b"[node]\n#x =", "node", "x", "4", b"[node]\nx = 4"),
    "only a header, without one": (b"[node]", "node", "x", "4", b"[node]\nx = 4"),
    "CRLF, own line": (b"[node]\r\nx = 1\r\na = 1\r\n", "node", "x", "4", b"[node]\r\nx = 4\r\na = 1\r\n"),
    "CRLF, comment": (b"[node]\r\n#x =\r\n", "node", "x", "4", b"[node]\r\nx = 4\r\n"),
    "CRLF, end": (b"[node]\r\na = 1\r\n", "node", "x", "4", b"[node]\r\na = 1\r\nx = 4\r\n"),
    "CRLF, end without line break": (b"[node]\r\na = 1", "node", "x", "4", b"[node]\r\na = 1\r\nx = 4"),
    "CRLF, new section": (b"[node]\r\na = 1\r\n", "b", "x", "4", b"[node]\r\na = 1\r\n\r\n[b]\r\nx = 4\r\n"),
    "line endings of both kinds: the neighbour's": (
        b"[node]\r\na = 1\n[client]\r\n", "node", "x", "4", b"[node]\r\na = 1\nx = 4\n[client]\r\n",
    ),
    "a byte order mark": (b"\xef\xbb\xbf[node]\nx = 1\n", "node", "x", "4", b"\xef\xbb\xbf[node]\nx = 4\n"),
    "a colon": (b"[node]\nx: 1\ny : 1\n", "node", "x", "4", b"[node]\nx: 4\ny : 1\n"),
    "no blanks": (b"[node]\nx=1\n", "node", "x", "4", b"[node]\nx=4\n"),
    "no blanks in the comment": (b"[node]\n#x=\n", "node", "x", "4", b"[node]\nx=4\n"),
    "aligned, and with blanks at the end": (b"[node]\nx\t =  1 \t\n", "node", "x", "4", b"[node]\nx\t = 4\n"),
    "a value of many lines": (
        b"[node]\nx = 1\n  2\n\n  # said\n\t3\n\na = 1\n", "node", "x", "4", b"[node]\nx = 4\n\n  # said\n\na = 1\n",
    ),
    "what looks like the option is part of a value": (
        b"[node]\na = 1\n  x = 2\n  #x =\n  3\nb = 1\n", "node", "x", "4",
        b"[node]\na = 1\n  x = 2\n  #x =\n  3\nb = 1\nx = 4\n",
    ),
    "what looks like a section is part of a value": (
        b"[node]\na = 1\n [client]\n#x =\n", "client", "x", "4", b"[node]\na = 1\n [client]\n#x =\n\n[client]\nx = 4\n",
    ),
    "a comment to the left of indented options": (
        b"[node]\n  a = 1\n#x =\n  b = 1\n", "node", "x", "4", b"[node]\n  a = 1\n  x = 4\n  b = 1\n",
    ),
    "a comment to the right of options": (
        b"[node]\na = 1\n    #x =\nb = 1\n", "node", "x", "4", b"[node]\na = 1\nx = 4\nb = 1\n",
    ),
    "a comment at the start, before an indented option": (
        b"[node]\n#x =\n  b = 1\n", "node", "x", "4", b"[node]\n  x = 4\n  b = 1\n",
    ),
    "indented options": (b"[node]\n\ta = 1\n\n[b]\n", "node", "x", "4", b"[node]\n\ta = 1\n\tx = 4\n\n[b]\n"),
    "everything indented": (b" [node]\n  x = 1\n  [b]\n  y = 1\n", "node", "x", "4", b" [node]\n  x = 4\n  [b]\n  y = 1\n"),
    "set twice: the later counts, and stays alone": (
        b"[node]\nx = 1\na = 1\nx = 2\n", "node", "x", "4", b"[node]\na = 1\nx = 4\n",
    ),
    "a section in two places": (
        b"[node]\na = 1\n[b]\ny = 1\n[node]\nb = 1\n", "node", "x", "4", b"[node]\na = 1\n[b]\ny = 1\n[node]\nb = 1\nx = 4\n",
    ),
    "a section in two places, the option in the first": (
        b"[node]\nx = 1\n[b]\n[node]\nb = 1\n", "node", "x", "4", b"[node]\nx = 4\n[b]\n[node]\nb = 1\n",
    ),
    "[DEFAULT] says otherwise": (
        b"[DEFAULT]\nx = 1\n[node]\na = 1\n", "node", "x", "4", b"[DEFAULT]\nx = 1\n[node]\na = 1\nx = 4\n",
    ),
    "a %": (b"[node]\nx = 1\n", "node", "x", "50%(a)s%", b"[node]\nx = 50%%(a)s%%\n"),
    "what stood there could not be read": (b"[node]\nx = 50%\n", "node", "x", "4", b"[node]\nx = 4\n"),
    "another value cannot be read": (b"[node]\ny = 50%\n#x =\n", "node", "x", "4", b"[node]\ny = 50%\nx = 4\n"),
    "an empty value": (b"[node]\nx = 1\n", "node", "x", "", b"[node]\nx =\n"),
    "from an empty value": (b"[node]\nx = \n", "node", "x", "1", b"[node]\nx = 1\n"),
    "a value of delimiters": (b"[node]\n", "node", "x", "=: [a] ; #b", b"[node]\nx = =: [a] ; #b\n"),
    "a value in Cyrillic": (b"[node]\n", "node", "nickname", "узел", "[node]\nnickname = узел\n".encode()),
    "a section and an option with blanks": (b"[a b]\nc d = 1\n", "a b", "c d", "2", b"[a b]\nc d = 2\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", SET.values(), ids=SET)
def test_an_option_is_set_in_its_place(case):
    before, section, option, value, after = case
    assert set_option(before, section, option, value) == after
    assert get(after, section, option) == value
    assert set_option(after, section, option, value) == after
    found, others = tahoe_reads(after), tahoe_reads(before)
    assert found[section].pop(option.lower()) == value
    others.setdefault(section, {}).pop(option.lower(), None)
    assert found == others


# Of two commented-out lines the last is taken, whichever was set. What [DEFAULT] says shows through.
COMES_BACK = {
    name: case for name, case in SET.items() if case[0].count(b"#x =") < 2 and not case[0].startswith(b"[DEFAULT]")
}


@pytest.mark.parametrize("case", COMES_BACK.values(), ids=COMES_BACK)
def test_unset_and_set_again_is_set(case):
    _, section, option, value, after = case
    unset = unset_option(after, section, option)
    assert get(unset, section, option) is None
    assert value == "" or value.encode() not in unset
    assert set_option(unset, section, option, value) == after
    assert unset_option(unset, section, option) == unset


EQUAL = {
    "plain": (b"[node]\nx = 1\n", "1"),
    "no blanks, upper case": (b"[node]\nX:1", "1"),
    "many blanks, CRLF": (b"[node]\r\nx   =   1   \r\n", "1"),
    "set twice": (b"[node]\nx = 2\nx = 1\n", "1"),
    "escaped": (b"[node]\nx = 1%%\n", "1%"),
    "by another option": (b"[node]\ny = 1\nx = %(y)s\n", "1"),
    "by [DEFAULT]": (b"[DEFAULT]\nx = 1\n[node]\n", "1"),
    "empty": (b"[node]\nx =   \n", ""),
}


@pytest.mark.parametrize(("data", "value"), EQUAL.values(), ids=EQUAL)
def test_what_tahoe_reads_already_is_not_written_again(data, value):
    assert tahoe_reads(data)["node"]["x"] == value == get(data, "node", "x")
    assert set_option(data, "node", "x", value) is data


UNSET = {
    "its line": (b"[node]\na = 1\nx = 2\n", b"[node]\na = 1\n#x =\n"),
    "as it is written": (b"[node]\n  X:2\r\n", b"[node]\n  #X:\r\n"),
    "all its lines": (b"[node]\nx = 1\n  2\na = 1\nx = 3\n\t4\n# c\n", b"[node]\na = 1\n#x =\n# c\n"),
    "in both places of its section": (b"[node]\nx = 1\n[a]\nx = 5\n[node]\nx = 2", b"[node]\n[a]\nx = 5\n[node]\n#x ="),
    "is not there": (b"[node]\n#x = 1\n[a]\nx = 1\n", b"[node]\n#x = 1\n[a]\nx = 1\n"),
    "its section is not there": (b"[a]\nx = 1\n", b"[a]\nx = 1\n"),
    "empty file": (b"", b""),
    "cannot be read": (b"[node]\nx = %\n", b"[node]\n#x =\n"),
}


@pytest.mark.parametrize(("before", "after"), UNSET.values(), ids=UNSET)
def test_an_option_is_commented_out(before, after):
    assert unset_option(before, "node", "x") == after
    assert "x" not in tahoe_reads(after).get("node", {})


def test_what_default_sets_is_not_unset_in_silence():
    for data in (b"[DEFAULT]\nx = 1\n[node]\n", b"[DEFAULT]\nx = 1\n[node]\nx = 2\n"):
        with pytest.raises(BadFile, match=r"\[DEFAULT\]"):
            unset_option(data, "node", "x")


def test_bytes_that_are_no_text_stay():
    data = b"# \xff\xfe caf\xe9\r\n[node]\nnickname = \xe9\t\n#x =\n\x00 = \x80\n"
    changed = set_option(data, "node", "x", "ж")
    assert changed == data.replace(b"#x =", "x = ж".encode())
    assert unset_option(changed, "node", "x") == data
    assert without_secrets(data, "node", "x").startswith("# \ufffd\ufffd caf\ufffd\r\n")


BAD = {
    "line break": ("node", "x", "secret\n[storage]"),
    "carriage return": ("node", "x", "secret\rx"),
    "NUL": ("node", "x", "secret\0x"),
    "next line": ("node", "x", "secret\x85x"),
    "line separator": ("node", "x", "secret\u2028x"),
    "blank before": ("node", "x", " secret"),
    "blank after": ("node", "x", "secret\t"),
    "no-break space after": ("node", "x", "secret\xa0"),
    "half a character": ("node", "x", "secret\udc80"),
    "a # in a FURL": ("node", "helper.furl", "pb://secret#1"),
    "empty section": ("", "x", "secret"),
    "bracket in the section": ("a]b", "x", "secret"),
    "line break in the section": ("a\nb", "x", "secret"),
    "blanks around the section": (" a", "x", "secret"),
    "[DEFAULT]": ("DEFAULT", "x", "secret"),
    "empty option": ("node", "", "secret"),
    "= in the option": ("node", "a=b", "secret"),
    ": in the option": ("node", "a:b", "secret"),
    "line break in the option": ("node", "a\nb", "secret"),
    "an option like a comment": ("node", "#x", "secret"),
    "an option like another comment": ("node", ";x", "secret"),
    "an option like a section": ("node", "[x", "secret"),
    "blanks around the option": ("node", "x ", "secret"),
    "half a character in the option": ("node", "\udc80", "secret"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_would_break_the_file_is_refused_without_telling_the_value(case):
    section, option, value = case
    with pytest.raises(BadOption) as refused:
        set_option(b"[node]\nx = 1\n", section, option, value)
    assert "secret" not in str(refused.value)
    assert re.search(r"; (give|name) ", str(refused.value)), "says what to do"
    assert isinstance(refused.value, ValueError)
    if value == "secret":
        for read in (get, unset_option):
            with pytest.raises(BadOption):
                read(b"[node]\n", section, option)


@pytest.mark.parametrize(
    ("data", "line"), [(b"# c\nx = secret\n", 2), (b"[node]\nx = 1\nsecret\nmore\n", 3), (b"[node]\n= secret\n", 2)]
)
def test_a_file_that_tahoe_cannot_read_is_refused_without_telling_what_is_in_it(data, line):
    with pytest.raises(Exception, match="secret"):  # a MissingSectionHeaderError, or a ParsingError
        tahoe_reads(data)
    for edit in (get, unset_option, without_secrets, lambda *name: set_option(*name, "v")):
        with pytest.raises(BadFile, match=f"line {line}, ") as refused:
            edit(data, "node", "x")
        assert "secret" not in str(refused.value)
        assert refused.value.__suppress_context__


def test_a_value_that_tahoe_cannot_read_is_said():
    with pytest.raises(BadFile, match=r"\[node\] x: .*%%") as refused:
        get(b"[node]\nx = secret%\n", "node", "x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        b"[DEFAULT]\nd = 1\n[node]\na = 2\nd = 3\nx = 4\n",
        b"[DEFAULT]\nd = 2\n[node]\na = 1\nd = 3\nx = 4\n",
        b"[DEFAULT]\nd = 1\n[node]\nd = 3\nx = 4\n",
        b"[DEFAULT]\nd = 1\n[node]\na = 1\nd = 3\nx = 4\n[more]\n",
        b"[DEFAULT]\nd = 1\n[node]\na = 1\nd = 3\nx = 5\n",
        b"[DEFAULT]\nd = 1\n[node]\na = 1\nd = 3\n",
    ],
)
def test_an_edit_that_says_something_else_too_is_not_handed_out(monkeypatch, wrong):
    """Whatever the editor does wrong: configparser has the last word."""
    monkeypatch.setattr(tahoe_cfg, "_ways", lambda *_: iter([wrong.decode()]))
    with pytest.raises(BadFile, match="by hand"):
        set_option(b"[DEFAULT]\nd = 1\n[node]\na = 1\nd = 3\n", "node", "x", "4")


SECRETS = (
    b"# pb://sECRET0@h/s and more\n"
    b"[node]\n"
    b"nickname = n1\n"
    b"web.port = tcp:3456:interface=127.0.0.1\n"
    b"x = sECRET1\n"
    b"  sECRET2\n"
    b"#x = sECRET3\n"
    b"#log_gatherer.furl = pb://sECRET4@h/s\n"
    b"; db password: sECRET5\n"
    b"log_gatherer.furl =\n"
    b"[client]\n"
    b"x = shown\n"
    b"helper.furl = sECRET6\r\n"
    b"rootcap = URI:DIR2:sECRET7\n"
    b"proxy = http://user:sECRET8@h/\n"
    b"many = first-sECRET9\n"
    b"\tpb://sECRET9@h/s\n"
    b"# URI%3ACHK%3AsECRET10 = 1\n"
    b"API-Token : sECRET11"
)


def test_no_secret_is_shown():
    shown = without_secrets(SECRETS, "node", "X", "*** (new)")
    assert "sECRET" not in shown
    assert shown == (
        "# ***\n[node]\nnickname = n1\nweb.port = tcp:3456:interface=127.0.0.1\nx = *** (new)\n  *** (new)\n#x = ***\n"
        "#log_gatherer.furl = ***\n; db password: ***\nlog_gatherer.furl =\n[client]\nx = shown\nhelper.furl = ***\r\n"
        "rootcap = ***\nproxy = ***\nmany = ***\n\t***\n# ***\nAPI-Token : ***"
    )


@pytest.fixture(scope="module")
def made_by_tahoe(tmp_path_factory):
    """The tahoe.cfg of a real node, in its folder."""
    node = tmp_path_factory.mktemp("tahoe") / "node"
    command = [Path(sys.executable).parent / "tahoe", "create-node", "--port=tcp:41234:interface=127.0.0.1"]
    subprocess.run([*command, "--location=tcp:127.0.0.1:41234", "--nickname=n1", node], check=True, capture_output=True)
    return node / "tahoe.cfg"


def test_a_file_made_by_tahoe_keeps_all_else(made_by_tahoe):
    from allmydata.client import read_config

    original = made_by_tahoe.read_bytes()
    before = tahoe_reads(original)
    data = set_option(original, "node", "log_gatherer.furl", FURL)
    assert data == original.replace(b"#log_gatherer.furl =", b"log_gatherer.furl = " + FURL.encode())
    data = set_option(data, "client", "shares.needed", "4")
    data = set_option(data, "node", "ssh.port", "8023")
    data = set_option(data, "tor", "enabled", "false")
    added = [line for line in data.split(b"\n") if line not in original.split(b"\n")]
    assert added == [f"log_gatherer.furl = {FURL}".encode(), b"ssh.port = 8023", b"shares.needed = 4", b"[tor]"]
    assert data.count(b"enabled = false") == original.count(b"enabled = false") + 1
    before["node"].update({"log_gatherer.furl": FURL, "ssh.port": "8023"})
    before["client"]["shares.needed"] = "4"
    before["tor"] = {"enabled": "false"}
    assert tahoe_reads(data) == before
    data = unset_option(data, "node", "ssh.port")  # an option that this Tahoe knows no longer
    made_by_tahoe.write_bytes(data)
    config = read_config(str(made_by_tahoe.parent), "client.port")  # refuses what it does not know
    assert config.get_config("node", "log_gatherer.furl") == FURL
    for section, option in (("node", "log_gatherer.furl"), ("client", "helper.furl"), ("client", "shares.needed")):
        data = unset_option(data, section, option)
    made_by_tahoe.write_bytes(data)
    assert read_config(str(made_by_tahoe.parent), "client.port").get_config("node", "log_gatherer.furl", None) is None
    made_by_tahoe.write_bytes(original)


def test_it_runs_with_the_python_of_old_hosts():
    source = (ROOT / "lae_monitor/fleet/tahoe_cfg.py").read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= set(sys.stdlib_module_names)
    assert not re.search(r"import .*\b(Final|Protocol|Literal|TypedDict|cache)\b", source), "newer than Python 3.7"


def test_ansible_has_this_very_file():
    link = ROOT / "plugins/module_utils/tahoe_cfg.py"
    assert link.is_symlink()
    assert link.readlink() == Path("../../lae_monitor/fleet/tahoe_cfg.py")

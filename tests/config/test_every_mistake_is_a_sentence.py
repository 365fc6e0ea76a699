"""A mistake in the configuration is told in one sentence that names the file, the dotted key, and what is wanted."""

import datetime as dt
import json
import math
import os
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lae_monitor.config import ConfigError, load
from lae_monitor.config.keys import all_sections, keys
from lae_monitor.kinds import KINDS

MISTAKES = [
    # unknown keys and sections
    ("gatherers.sonar.lisen = 5", 'gatherers.sonar.lisen: unknown key, did you mean "listen"?'),
    ("[sonar]\nlisten = 5", "sonar: unknown key, did you mean gatherers.sonar or retention.sonar?"),
    ("[storage]", 'storage: unknown key, did you mean "store"?'),
    ("roots = []", "roots: unknown key, did you mean archive.roots?"),
    ("[web]\nqqq = 1", "web.qqq: unknown key, known: listen"),
    ('"a\\nb" = 1', "'a\\nb': unknown key"),
    ("[gatherers.tape]", "gatherers.tape: unknown key, known: crashes, incidents, sonar"),
    # a value where a section belongs, and the other way round
    ("web = 5", "web: is a section, written [web]; this is 5"),
    ("gatherers = []", "gatherers: is a section, written [gatherers]; this is a list"),
    ("[[web]]\nlisten = ''", "web: is a section, written [web]; this is a list"),
    ("[web.listen]\nport = 5", "web.listen: wants an address and port to listen on"),
    # types
    ("fleet.name = 5", "fleet.name: wants a cluster's name"),
    ("fleet.name = 2026-11-22", "this is a date"),
    ("fleet.name = 2026-11-22T09:00:00Z", "this is a date and time"),
    ("fleet.name = 09:00:00", "this is a time of day"),
    ("store.readers = '2'", "store.readers: wants a whole number, 1 to 16; this is text"),
    ("store.readers = 2.0", "store.readers: wants a whole number, 1 to 16; this is 2.0"),
    ("store.readers = true", "store.readers: wants a whole number, 1 to 16; this is true"),
    ("store.readers = 0", "store.readers: wants a whole number, 1 to 16; this is 0"),
    ("store.readers = 17", "store.readers: wants a whole number, 1 to 16; this is 17"),
    ("gatherers.sonar.match_user_and_cluster = 1", "wants true or false; this is 1"),
    ("log.format = 'xml'", """log.format: wants one of "text", "json"; this is 'xml'"""),
    ("archive.roots = '/a'", "archive.roots: wants a list, each a folder"),
    ("archive.roots = ['/a', 5]", "archive.roots[1]: wants a folder"),
    ("archive.roots = [['/a']]", "archive.roots[0]: wants a folder"),
    ("gatherers.crashes.trusted_proxies = '10.0.0.1'", "wants a list, each text in quotes; this is text"),
    ("gatherers.crashes.trusted_proxies = [5]", "gatherers.crashes.trusted_proxies[0]: wants a list, each text"),
    # sizes
    ("store.memory = 0", "store.memory: 0 bytes: a size is at least 1 byte"),
    ("store.memory = -5", "store.memory: -5 bytes"),
    ("store.memory = 4096.5", "store.memory: wants a size with a unit, such as"),
    ("store.memory = true", "store.memory: wants a size"),
    ("store.memory = ''", "store.memory: not a size"),
    ("store.memory = '-1 MiB'", "store.memory: not a size"),
    ("store.memory = '1 XB'", "store.memory: not a size"),
    ("store.memory = 9223372036854775808", "below 8 EiB"),
    ("store.memory = '999999999999999 TiB'", "below 8 EiB"),
    (f"store.memory = {'9' * 4000}", "below 8 EiB"),
    # durations
    ("archive.hot = 0", "archive.hot: 0 seconds: a duration is more than nothing"),
    ("archive.hot = -1", "archive.hot: -1 seconds"),
    ("archive.hot = nan", "archive.hot: nan seconds"),
    ("archive.hot = inf", "archive.hot: inf seconds"),
    ("archive.hot = -inf", "archive.hot: -inf seconds"),
    ("archive.hot = '101y'", "at most 100 years"),
    (f"archive.hot = {'9' * 4000}", "at most 100 years"),
    ("archive.hot = '7 days'", "archive.hot: not a duration"),
    (f"archive.hot = '{'1' * 4000}!'", "archive.hot: not a duration"),  # an answer, and not in a thousand years
    ("archive.hot = 1979-05-27", "this is a date"),
    ("archive.hot = true", "wants a duration"),
    # shares
    ("archive.reserve = 5", 'archive.reserve: wants a share of the file system, such as "5%"'),
    ("archive.reserve = '100%'", "archive.reserve: not a size"),
    ("archive.reserve = '-5%'", "archive.reserve: not a size"),
    # addresses
    ("web.listen = 8000", "web.listen: wants an address and port"),
    ("web.listen = ''", "web.listen: '' is not an address and port"),
    ("web.listen = '127.0.0.1'", "is not an address and port"),
    ("web.listen = '127.0.0.1:65536'", "is not an address and port"),
    ("web.listen = '127.0.0.1:-1'", "is not an address and port"),
    ("web.listen = '127.0.0.256:80'", "is not an address and port"),
    ("web.listen = '[:::]:80'", "is not an address and port"),
    ("web.listen = '::1:80'", "is not an address and port"),
    ('web.listen = "127.0.0.1:80\\n\\n:5"', "is not an address and port"),
    # paths
    ("state.path = ''", "state.path: '' is not a folder"),
    ("state.path = '  '", "is not a folder"),
    ('state.path = "/a\\u0000b"', "is not a folder"),
    ("state.path = '~no-such-account-here/x'", "state.path: '~no-such-account-here/x': Could not determine home"),
    ("state.path = ['/a']", "state.path: wants a folder"),
    ("store.url = 'clickhouse://host/x'", "store.url: 'clickhouse://host/x' is not the URL of a store"),
    ("store.url = 'chdb://relative'", "is not the URL of a store"),
    ("store.url = 'chdb:///'", "is not the URL of a store"),
    ("store.url = 'chdb:///a?b=c'", "is not the URL of a store"),
    # names
    ("fleet.name = ''", "fleet.name: the cluster's name has characters"),
    ("fleet.name = '../x'", "fleet.name: the cluster's name has characters"),
    ("fleet.inventory = {'10.0.0.300' = 'a'}", "fleet.inventory: '10.0.0.300' is not an IP address"),
    ("fleet.inventory = {'10.0.0.3' = '../a'}", "fleet.inventory: 10.0.0.3: the host's name has characters"),
    ("fleet.inventory = {'10.0.0.3' = 5}", "fleet.inventory: 10.0.0.3: the host's name has characters"),
    ("fleet.inventory = {'::1' = 'a', '0:0:0:0:0:0:0:1' = 'b'}", "fleet.inventory: ::1 is there twice"),
    ("fleet.inventory = {'10.0.0.3' = 'a', '::ffff:10.0.0.3' = 'b'}", "fleet.inventory: 10.0.0.3 is there twice"),
    ("fleet.inventory = ['a']", "fleet.inventory: wants a table of addresses and host names"),
    # values that are right alone, and wrong together
    ("web.listen = '0.0.0.0:8642'", "web.listen: 0.0.0.0:8642 can be reached from other hosts"),
    ("web.listen = 'monitor.example:8642'", "web.listen: monitor.example:8642 can be reached"),
    ("web.listen = '127.0.0.1:8000'", "port 8000 is that of web.listen too"),
    ("gatherers.crashes.listen = '0.0.0.0:8642'", "gatherers.crashes.listen: port 8642 is that of web.listen too"),
    ("gatherers.incidents.listen = 'tcp:8086'", "port 8086 is that of gatherers.incidents.listen too"),
    ("archive.roots = []", "archive.roots: names no folder"),
    ("archive.roots = ['/a/b', '/a/b/']", "archive.roots: /a/b is there twice"),
    ("archive.roots = ['/a/b', '/a/c/../b/d']", "archive.roots: of /a/b and /a/b/d, one lies in the other"),
    ("archive.roots = ['/var/lib']", "archive.roots: /var/lib holds the state folder"),
    ("archive.roots = ['/var/lib/lae-monitor/store']", "and the store's folder"),
    ("state.path = '/a?b'", "state.path: /a?b/store: the engine of the store can have no question mark"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_names_the_file_the_key_and_what_is_wanted(problems, tmp_path, text, sentence):
    found = problems(text)
    matching = [problem for problem in found if sentence in problem]
    assert matching, found
    assert all(len(problem) < 600 and problem.isprintable() for problem in found), found
    default_at_fault = matching[0].startswith("gatherers.")  # the other of two addresses, which nobody wrote
    assert default_at_fault or matching[0].startswith(f"{tmp_path}/lae-monitor.toml: ")


def test_all_mistakes_are_told_at_once(problems):
    found = problems("fleet.name = 5\n[web]\nlisten = 5\nlisen = 6\n[gatherers.crashes]\nmax_body = 'x'\n[sto]")
    assert len(found) == 5


def test_what_is_right_is_read(loaded):
    settings = loaded(
        """
        fleet.name = "2024"
        fleet.inventory = {"::ffff:10.0.0.7" = "node1", "0:0:0:0:0:0:0:1" = "node2"}
        archive.hot = "1h30m"
        archive.reserve = "10 GiB"
        store.memory = "1.5 GB"
        [gatherers.sonar]
        listen = "[::1]:0"
        max_body = 4096
        [gatherers.crashes]
        listen = "localhost:0"
        total_timeout = 0.25
        """
    )
    assert settings.fleet.name == "2024"
    assert settings.fleet.inventory == {"10.0.0.7": "node1", "::1": "node2"}
    assert settings.archive.hot == 5400
    assert settings.archive.reserve.reserve().of(0) == 10 * 2**30
    assert settings.store.memory == 1_500_000_000
    assert settings.gatherers["sonar"].listen.host == "::1"
    assert settings.gatherers["sonar"].max_body == 4096
    assert settings.gatherers["crashes"].listen.is_loopback
    assert settings.gatherers["crashes"].total_timeout == 0.25


# ---- whatever TOML can hold ----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.integers(),
        st.integers(min_value=10**300, max_value=10**310),
        st.floats(),
        st.booleans(),
        st.text(max_size=30),
        st.from_regex(r"[0-9:.%a-zA-Z \[\]/~?-]{0,20}", fullmatch=True),
        st.datetimes(),
        st.dates(),
        st.times(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
KEYS = [key.dotted for key in keys(all_sections(KINDS))] + ["web", "gatherers", "gatherers.sonar", "nothing.such"]


def mistakes(file, environ):
    try:
        load(file, KINDS, environ)
    except ConfigError as error:
        return error.problems
    return []


def as_toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(name)} = {as_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dotted=st.sampled_from(KEYS), value=VALUES)
def test_whatever_a_key_is_given_it_is_read_or_refused_in_a_sentence(tmp_path, dotted, value):
    file = tmp_path / "any.toml"
    file.write_text(f"{dotted} = {as_toml(value)}", "utf-8", "surrogatepass")
    assert all(problem and problem.isprintable() for problem in mistakes(file, {}))


@example(dotted="store.readers", text="\udcff")
@given(dotted=st.sampled_from(KEYS), text=st.text(st.characters(exclude_characters="\0"), max_size=60))
def test_whatever_a_variable_holds_it_is_read_or_refused_in_a_sentence(dotted, text):
    variable = f"LAE_MONITOR__{dotted.upper().replace('.', '__')}"
    for problem in mistakes(None, {variable: text}):
        assert variable in problem or not problem.startswith("LAE")


def test_random_bytes_are_refused_in_a_sentence(tmp_path):
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    chance = random.Random(seed)
    file = tmp_path / "any.toml"
    for _ in range(300):
        file.write_bytes(chance.randbytes(chance.randrange(1, 60)))
        assert all(problem.startswith(str(file)) for problem in mistakes(file, {}))

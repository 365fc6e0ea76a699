"""LAE_MONITOR__SECTION__KEY overrides a key; a mistake in one names the variable."""

import pytest


def test_a_variable_overrides_the_file_which_overrides_the_default(loaded):
    text = "[web]\nlisten = '127.0.0.1:1'\n[gatherers.sonar]\nmax_body = '1 KiB'"
    settings = loaded(text, LAE_MONITOR__WEB__LISTEN="127.0.0.1:2")
    assert settings.web.listen == "127.0.0.1:2"
    assert settings.gatherers["sonar"].max_body == 1024
    assert settings.gatherers["crashes"].listen == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("variable", "text", "dotted", "value"),
    [
        ("FLEET__NAME", "mlx", "fleet.name", "mlx"),
        ("FLEET__NAME", '"mlx"', "fleet.name", "mlx"),
        ("FLEET__NAME", "2024", "fleet.name", "2024"),  # a number as TOML, and yet a name is wanted
        ("FLEET__NAME", "2024-01-01", "fleet.name", "2024-01-01"),
        ("FLEET__NAME", "true", "fleet.name", "true"),
        ("STORE__READERS", "3", "store.readers", 3),
        ("STORE__MEMORY", "1 GiB", "store.memory", 2**30),
        ("STORE__MEMORY", "4096", "store.memory", 4096),
        ("ARCHIVE__HOT", "1h30m", "archive.hot", 5400),
        ("GATHERERS__SONAR__MATCH_USER_AND_CLUSTER", "false", "gatherers.sonar.match_user_and_cluster", False),
        ("GATHERERS__SONAR__AUTH_FILE", "", "gatherers.sonar.auth_file", ""),
        ("GATHERERS__CRASHES__TRUSTED_PROXIES", '["10.0.0.1", "10.1.0.0/16"]', "gatherers.crashes.trusted_proxies",
         ["10.0.0.1", "10.1.0.0/16"]),
        ("FLEET__INVENTORY", '{"10.0.0.7" = "node1"}', "fleet.inventory", {"10.0.0.7": "node1"}),
    ],
)  # fmt: skip
def test_values_are_toml_or_plain_text(loaded, variable, text, dotted, value):
    settings = loaded("", **{f"LAE_MONITOR__{variable}": text})
    first, *middle, last = dotted.split(".")
    section = settings.gatherers[middle[0]] if middle else getattr(settings, first)
    assert getattr(section, last) == value
    assert type(getattr(section, last)).__eq__(getattr(section, last), value)


def test_variables_of_ours_that_are_no_keys_and_those_of_others_stay(loaded):
    others = {"LAE": "x", "MONITOR__WEB__LISTEN": "x", "XLAE_MONITOR__X": "x"}
    assert loaded("", LAE_MONITOR_CONFIG="/nowhere", LAE_MONITOR_TOKEN_FILE="/x", **others).warnings == ()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("LAE_MONITOR_WEB_LISTEN", "LAE_MONITOR__WEB__LISTEN"),
        ("LAE_MONITOR_WEB__LISTEN", "LAE_MONITOR__WEB__LISTEN"),
        ("LAE_MONITOR__WEB_LISTEN", "LAE_MONITOR__WEB__LISTEN"),
        ("LAEMONITOR__WEB__LISTEN", "LAE_MONITOR__WEB__LISTEN"),
        ("lae_monitor__web__listen", "LAE_MONITOR__WEB__LISTEN"),
        ("Lae_Monitor_Web_Listn", "LAE_MONITOR__WEB__LISTEN"),
        ("lae_monitor_config", "LAE_MONITOR_CONFIG"),
        ("LAEMONITOR__CONFIG", "LAE_MONITOR_CONFIG"),
        ("LAE_MONITOR_TOKENFILE", "LAE_MONITOR_TOKEN_FILE"),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours_is_refused_with_the_right_name(problems, variable, meant):
    (problem,) = problems("", **{variable: "127.0.0.1:1"})
    assert problem.startswith(f"{variable}: ")
    assert problem.endswith(f" it is written {meant}")


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("LAEMONITOR__X", "a key is overridden by LAE_MONITOR__SECTION__KEY"),
        ("lae_monitor__x", "a key is overridden by LAE_MONITOR__SECTION__KEY"),
        ("LAE_MONITOR_X__Y", "a key is overridden by LAE_MONITOR__SECTION__KEY"),
        ("LAE_MONITOR", "a key is overridden by LAE_MONITOR__SECTION__KEY"),
        ("LAE_MONITOR_PORT_8642_TCP", "a key is overridden by LAE_MONITOR__SECTION__KEY"),  # Kubernetes, of a service
        ("LAE_MONITOR_STATE_DIR", "did you mean LAE_MONITOR__STATE__PATH?"),
    ],
)
def test_a_variable_that_only_begins_like_one_of_ours_is_warned_of(loaded, variable, hint):
    assert loaded("", **{variable: "x"}).warnings == (f"{variable}: is not read; {hint}",)


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("FLEET__NAM", "x", 'fleet.nam: unknown key, did you mean "name"?'),
        ("FLET__NAME", "x", "flet.name: unknown key, did you mean fleet.name?"),
        ("FLEET", '{name = "x"}', "fleet is a section; name one of its keys, such as LAE_MONITOR__FLEET__NAME"),
        ("FLEET__INVENTORY__NODE1", "x", "fleet.inventory is a single value; write it as TOML into LAE_MONITOR__FLEET__INVENTORY"),
        ("fleet__name", "x", "no such variable; it is written LAE_MONITOR__FLEET__NAME"),
        ("", "x", "unknown key"),
        ("__", "x", "unknown key"),
        ("GATHERERS__TAPE__LISTEN", "x", "gatherers.tape.listen: unknown key"),
        ("WEB__LISTEN", "0.0.0.0:8642", "web.listen: 0.0.0.0:8642 can be reached"),
        ("WEB__LISTEN", "8642", "web.listen: wants an address and port to listen on"),
        ("ARCHIVE__ROOTS", "/a:/b", "archive.roots: wants a list, each a folder"),
        ("ARCHIVE__ROOTS", '["/a", 5]', "archive.roots[1]: wants a folder"),
        ("STORE__READERS", "two", "store.readers: wants a whole number, 1 to 16; this is text"),
        ("STORE__READERS", "2\nfleet.name = 'x'", "store.readers: wants a whole number, 1 to 16; this is text"),
        ("STORE__MEMORY", "", "store.memory: not a size"),
        ("STATE__PATH", "", "state.path: '' is not a folder"),
        ("WEB__LIST\x1b[2J", "x", "unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_variable(problems, variable, text, sentence):
    (problem,) = problems("", **{f"LAE_MONITOR__{variable}": text})
    assert problem.isprintable()
    assert sentence in problem
    assert problem.lstrip("'").startswith(f"LAE_MONITOR__{variable}".partition("\x1b")[0])


def test_mistakes_in_file_and_environment_are_told_together(problems, tmp_path):
    found = problems("fleet.nam = 1", LAE_MONITOR__WEB__LISTE="x")
    assert [problem.partition(": ")[0] for problem in found] == [
        f"{tmp_path}/lae-monitor.toml",
        "LAE_MONITOR__WEB__LISTE",
    ]

"""`check` names what is wrong with the section, and is quiet about what is right."""

import re

import pytest
from click.testing import CliRunner

from lae_monitor.cli.group import top
from lae_monitor.config import Settings as AllSettings
from lae_monitor.kinds.incidents.check import advice, check
from lae_monitor.kinds.incidents.config import Settings


def problems(**section):
    return list(check(AllSettings(gatherers={"incidents": Settings(**section)})))


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"listen": "tcp:3118:interface=127.0.0.1", "location": "tcp:monitor.example:3118"},
        {"listen": r"tcp:3118:interface=\:\:1", "location": "tcp:[::1]:3118"},
        {"location": "tcp:10.0.0.1:3118,tcp:monitor:4118"},
        {"location": "monitor.example:3118"},
    ],
)
def test_good_sections(section):
    assert problems(**section) == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"listen": "3118"}, "gatherers.incidents.listen: not understood"),
        ({"listen": "ssl:3118"}, "gatherers.incidents.listen: not understood"),
        ({"listen": "tcp:99999"}, "gatherers.incidents.listen: not understood"),
        ({"location": ""}, "gatherers.incidents.location: needs a host and a port"),
        ({"location": "tcp:monitor"}, "gatherers.incidents.location: needs a host and a port"),
        ({"location": "tcp::3118"}, "gatherers.incidents.location: needs a host and a port"),
        ({"location": "tcp:monitor:0"}, "gatherers.incidents.location: needs a host and a port"),
        ({"location": "tcp:monitor:3118/x"}, "gatherers.incidents.location: needs a host and a port"),
        ({"location": "tcp:0.0.0.0:3118"}, "gatherers.incidents.location: 0.0.0.0 means all addresses"),
    ],
)
def test_each_mistake_is_one_sentence(section, words):
    (problem,) = problems(**section)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("listen", "location", "leads_home"),
    [
        ("tcp:3118", "tcp:localhost:3118", True),
        ("tcp:3118", "tcp:127.0.0.1:3118", True),
        ("tcp:3118:interface=10.0.0.1", "tcp:[::1]:3118,tcp:localhost:3118", True),
        ("tcp:3118", "tcp:monitor.example:3118", False),
        ("tcp:3118", "tcp:127.0.0.1:3118,tcp:monitor.example:3118", False),
        ("tcp:3118:interface=127.0.0.1", "tcp:localhost:3118", False),
        (r"tcp:3118:interface=\:\:1", "tcp:localhost:3118", False),
        ("nonsense", "tcp:localhost:3118", False),
    ],
)
def test_furls_that_lead_other_hosts_to_themselves_are_said(listen, location, leads_home):
    settings = AllSettings(gatherers={"incidents": Settings(listen=listen, location=location)})
    said = list(advice(settings))
    assert [sentence.startswith("gatherers.incidents.location: ") for sentence in said] == [True] * leads_home


def test_the_command_line_warns_of_it_and_goes_on(tmp_path):
    config = tmp_path / "lae-monitor.toml"
    config.write_text('[gatherers.incidents]\nlisten = "tcp:3118"\nlocation = "tcp:localhost:3118"\n')
    done = CliRunner().invoke(top, ["--config", str(config), "check", "config", "--no-environment", "incidents"])
    assert done.exit_code == 0, done.output
    assert re.search(
        r"^warning +gatherers.incidents.location: localhost leads nodes on other hosts to themselves",
        done.output,
        re.MULTILINE,
    )

"""What is kept needs a unit; elsewhere a number without one is legal for one more release, and warned of."""

import pytest


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("retention.crashes = 90", 'retention.crashes: 90 has no unit: write "90d" for days, or "90s" for seconds'),
        ("retention.sonar = '90'", 'retention.sonar: 90 has no unit: write "90d" for days, or "90s" for seconds'),
        ("retention.stats = 1.5", 'retention.stats: 1.5 has no unit: write "1.5d" for days, or "1.5s" for seconds'),
        ("retention.logs = '1h30'", 'retention.logs: 1h30: give every number a unit, such as "30s"'),
        ("retention.max_share = 5", 'retention.max_share: wants a percentage, such as "5%"; this is 5'),
        ("retention.max_share = '101%'", "retention.max_share: '101%' is more than everything"),
        (
            "gatherers.crashes.max_kept = 50",
            'gatherers.crashes.max_kept: 50 has no unit: write "50 GiB" for gibibytes, or "50 B" for bytes',
        ),
        (
            "gatherers.incidents.max_host = 1",
            'gatherers.incidents.max_host: 1 has no unit: write "1 GiB" for gibibytes, or "1 B" for bytes',
        ),
        (
            "gatherers.crashes.product_retention = {Nightly = 30}",
            'gatherers.crashes.product_retention.Nightly: 30 has no unit: write "30d" for days, or "30s" for seconds',
        ),
    ],
)
def test_what_is_kept_needs_a_unit(problems, text, sentence):
    (problem,) = problems(text)
    assert problem.endswith(sentence)


def test_each_product_is_named(problems):
    text = 'gatherers.crashes.product_retention = {"My App" = "90", B = "1d", C = "9x", D = true}'
    key = "gatherers.crashes.product_retention"
    assert [problem.partition(": ")[2] for problem in problems(text)] == [
        f'{key}.My App: 90 has no unit: write "90d" for days, or "90s" for seconds',
        f"{key}.C: not a duration: a number and one of ms, s, m, h, d, w, y: '9x'",
        f'{key}.D: wants a duration with a unit, such as "30d", "1y" or "12h"; this is true',
    ]


def test_a_variable_needs_one_too(problems):
    assert problems("", LAE_MONITOR__RETENTION__CRASHES="90") == [
        'LAE_MONITOR__RETENTION__CRASHES: retention.crashes: 90 has no unit: write "90d" for days, or "90s" for seconds'
    ]


def test_elsewhere_a_number_without_a_unit_is_warned_of(loaded):
    text = """
    [gatherers.crashes]
    head_timeout = 10
    max_body = "4096"
    idle_timeout = "20s"
    [alerts]
    silent_after = "1h30"
    destinations = [{type = "webhook", url = "https://x.example", timeout = 5}, {type = "mail", to = ["a@b.example"]}]
    """
    settings = loaded(text, LAE_MONITOR__STORE__MEMORY="419430400")
    assert float(settings.gatherers["crashes"].head_timeout) == 10
    assert [warning.split(" has no unit")[0] for warning in settings.warnings] == [
        "store.memory: 419430400",
        "alerts.silent_after: 1h30",
        "alerts.destinations[0].timeout: 5",
        "gatherers.crashes.max_body: 4096",
        "gatherers.crashes.head_timeout: 10",
    ]
    assert 'is read as "4096 B": write it so' in settings.warnings[3]
    assert loaded("").warnings == ()


def test_less_than_a_day_is_warned_of(loaded):
    text = 'retention.crashes = "90s"\ngatherers.crashes.product_retention = {Nightly = "23h", Release = "1d"}'
    assert [warning.partition(" is less")[0] for warning in loaded(text).warnings] == [
        "retention.crashes: 1m 30s",
        "gatherers.crashes.product_retention.Nightly: 23h",
    ]

"""With the whole monitor: what calls for a person is told once, by mail and webhook, whatever happens meanwhile."""

import re
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from monitor import Monitor, await_that

SOON = 'silent_after = "4s"\n'
FLEET = '[fleet]\ninventory = {"127.0.0.1" = "node7"}\n'


def destinations(hooks=None, mails=None):
    text = ""
    if hooks is not None:
        text += f'[[alerts.destinations]]\ntype = "webhook"\nname = "hooks"\nurl = "{hooks.url}"\n'
    if mails is not None:
        text += (
            f'[[alerts.destinations]]\ntype = "mail"\nto = ["ops@example.org"]\nsender = "mon@example.org"\n'
            f'server = "{mails.address}"\n'
        )
    return text


def crash(monitor, signature="Lemmings", **annotations):
    options = [
        part
        for key, value in {"ProductName": signature, **annotations}.items()
        for part in ("--annotation", f"{key}={value}")
    ]
    said = monitor.cli("crashes", "submit", "--url", f"{monitor.crashes}/submit", *options)
    return re.search(r"bp-([0-9a-f-]{36})", said)[1]


def settled(monitor):
    """Waits until alarms were looked at once more than now."""
    before = looked(monitor)
    await_that(lambda: looked(monitor) not in {None, before}, "another look")


def looked(monitor):
    """When that was last."""
    with urllib.request.urlopen(f"{monitor.web}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return re.search(r"^lae_alerts_looked_seconds (\S+)", text, re.MULTILINE)[1]


def warnings(monitor):
    return monitor.get("/__heartbeat__")["warnings"]


def test_that_alarms_cannot_be_looked_at_is_told_until_they_can(tmp_path):
    with Monitor(tmp_path / "m", "incidents", "serve") as monitor:
        monitor.cli("check", "fleet", "serve")
        database = monitor.state / "gather-incidents.db"
        database.rename(database.with_suffix(".away"))
        database.mkdir()
        (told,) = await_that(lambda: warnings(monitor), "a warning")
        assert told.startswith("alarms cannot be looked at: ")
        assert "but alarms cannot be looked at" in monitor.cli("check", "fleet", "serve", code=1)
        database.rmdir()
        database.with_suffix(".away").rename(database)
        await_that(lambda: not warnings(monitor), "no warning any more")
        monitor.cli("check", "fleet", "serve")


def test_that_there_are_no_alarms_is_told(tmp_path):
    monitor = Monitor(tmp_path / "m", "serve")
    (monitor.state / "alerts.db").mkdir(parents=True)
    with monitor:
        (told,) = await_that(lambda: warnings(monitor), "a warning")
        assert told.startswith("there are no alarms: ")


def test_a_new_group_is_told_once_by_both_ways(tmp_path, hooks, mails):
    with Monitor(tmp_path / "m", "crashes", "serve", extra=f"[alerts]\n{destinations(hooks, mails)}") as monitor:
        first = crash(monitor)
        (alarm,) = hooks.await_alarms(rule="new group")
        assert (alarm["state"], alarm["host"], alarm["attrs"]["report"]) == ("raised", "127.0.0.1", first)
        assert "Lemmings" in alarm["title"]
        (to, mail) = mails.await_mails(1)[0]
        assert to == ("ops@example.org",)
        assert mail["Subject"] == f"[lae] {alarm['title']}"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert f"lae-monitor group show {alarm['attrs']['group_id']}" in mail.get_content()
        monitor.cli("group", "show", alarm["attrs"]["group_id"])

        crash(monitor)  # the same again: no news
        await_that(lambda: len(monitor.search("kind:crash")) == 2, "both are stored")
        settled(monitor)
        settled(monitor)
        assert len(hooks.alarms()) == 1
        assert len(mails.got) == 1
        (row,) = await_that(lambda: monitor.search("kind:alarm"), "it is on the timeline")
        assert (row["host"], row["attrs"]["rule"], row["attrs"]["alarm"]) == ("127.0.0.1", "new group", alarm["id"])


def test_silence_is_told_once_and_that_it_is_over(tmp_path, hooks):
    extra = f'{FLEET}[alerts]\n{SOON}expected = ["node7"]\n{destinations(hooks)}'
    with Monitor(tmp_path / "m", "sonar", "crashes", "serve", extra=extra) as monitor:
        (alarm,) = hooks.await_alarms(rule="host silent")
        assert (alarm["cluster"], alarm["host"], alarm["state"], alarm["level"]) == ("lae", "node7", "raised", "error")
        assert "never heard" in alarm["text"]
        assert "node7" in monitor.cli("alert", "list", code=1)
        crash(monitor)
        (over,) = hooks.await_alarms(rule="host silent", state="over")
        assert over["id"] == alarm["id"]
        assert "heard again" in over["why_ended"]
        # It does not crash again: silent again, as a new alarm.
        again = hooks.await_alarms(2, rule="host silent", state="raised")
        assert again[1]["id"] != alarm["id"]
        assert await_that(lambda: len(monitor.search("kind:alarm host:node7 silent")) >= 3, "all on the timeline")


def test_what_was_raised_is_delivered_after_a_kill(tmp_path, hooks, mails):
    hooks.status = 503
    mails.down = True
    with Monitor(tmp_path / "m", "crashes", "serve", extra=f"[alerts]\n{destinations(hooks, mails)}") as monitor:
        secret = monitor.state / "credentials" / "alerts" / "hooks"
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.touch(0o600)
        secret.write_text("hush\n")  # while it runs
        crash(monitor)
        await_that(lambda: hooks.got, "it was tried")
        assert hooks.headers[0]["Authorization"] == "Bearer hush"
        await_that(lambda: "451" in monitor.cli("alert", "list", code=1), "why the mail did not arrive is shown")
        assert "it answered 503: not now" in monitor.cli("alert", "list", code=1)
        assert "hush" not in monitor.cli("alert", "list", code=1)
        monitor.stop(signal.SIGKILL)
        hooks.status, mails.down = 200, False
        monitor.start()
        (alarm,) = hooks.await_alarms(rule="new group")
        assert {body["id"] for body in hooks.got} == {hooks.taken[0]["id"]}  # the same message, whenever it was tried
        assert {headers["Idempotency-Key"] for headers in hooks.headers} == {hooks.taken[0]["id"]}
        mails.await_mails(1)
        settled(monitor)
        assert (len(hooks.taken), len(mails.got)) == (1, 1)
        assert len(await_that(lambda: monitor.search("kind:alarm"), "on the timeline")) == 1
        assert alarm["id"] in monitor.cli("--json", "alert", "list", "--all", code=1)


def test_who_hangs_delays_nobody_else_and_no_end(tmp_path, hooks, mails):
    hooks.hang.set()
    with Monitor(tmp_path / "m", "crashes", "serve", extra=f"[alerts]\n{destinations(hooks, mails)}") as monitor:
        crash(monitor)
        await_that(lambda: hooks.got, "it was asked")
        mails.await_mails(1)
        assert monitor.search("kind:crash")
        assert monitor.stop() == 0


def test_many_at_once_are_one_message(tmp_path, hooks, mails):
    expected = [f"node{number}" for number in range(60)]
    extra = f"[alerts]\n{SOON}expected = {expected}\n{destinations(hooks, mails)}"
    with Monitor(tmp_path / "m", "sonar", "serve", extra=extra):
        hooks.await_alarms(60, rule="host silent")
        (_, mail) = mails.await_mails(1)[0]
        assert mail["Subject"] == "[lae] 60 alarms: 60 host silent"
        assert "and 10 more: lae-monitor alert list" in mail.get_content()
        assert len(hooks.taken) == len(mails.got) == 1


def test_each_destination_hears_what_it_asked_for(tmp_path, hooks, mails):
    only = destinations(hooks).rstrip() + '\nrules = ["new group"]\n'
    extra = f'[alerts]\n{SOON}expected = ["node9"]\ngroup_level = "critical"\n{only}{destinations(None, mails)}'
    with Monitor(tmp_path / "m", "sonar", "serve", extra=extra) as monitor:
        (_, mail) = mails.await_mails(1)[0]
        assert "node9 is silent" in mail["Subject"]
        settled(monitor)
        assert hooks.got == []


@pytest.mark.parametrize("kinds", [("sonar",), ("incidents",)])
def test_without_its_gatherer_no_host_is_silent_but_the_gatherer_is_down(tmp_path, hooks, kinds):
    """See tests/alerts/test_silence.py for its time limit, which is too long to wait for here."""
    extra = f"[alerts]\n{SOON}{destinations(hooks)}"
    with Monitor(tmp_path / "m", "serve", *kinds, extra=extra) as monitor:
        monitor.cli("fleet", "register", "incident", "--host", "node3")
        if "incidents" in kinds:
            hooks.await_alarms(rule="host silent", host="node3")
        else:
            settled(monitor)
            settled(monitor)
            assert hooks.got == []


def test_alarms_can_be_asked_for_while_they_come(tmp_path, hooks):
    expected = [f"node{number}" for number in range(200)]
    extra = f"[alerts]\n{SOON}expected = {expected}\n{destinations(hooks)}"
    with Monitor(tmp_path / "m", "sonar", "serve", extra=extra) as monitor, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(monitor.cli, "--json", "alert", "list", code=None) for _ in range(12)]
        hooks.await_alarms(200)
        assert all('"alarms"' in one.result() for one in asked)

"""Who may send, under which id, and what the rules do with it: each has its own answer, and nothing else is kept."""

import json
import socket
from datetime import UTC, datetime

import pytest

from lae_monitor.core.names import new_crash_id
from lae_monitor.kinds.crashes.tokens import SUBMITTER, user_of
from lae_monitor.net.passwords import hash_password

NOW = datetime.now(UTC).timestamp()
ID = str(new_crash_id(NOW))
DEFERRED = ID[:-7] + "1" + ID[-6:]
DUMP = b"MDMP" + bytes(300)

RULES = """
[[rule]]
name = "comments"
key = "Comments"
result = "accept"

[[rule]]
name = "later"
key = "ProductName"
equals = "Later"
result = "defer"

[[rule]]
name = "pretended"
key = "ProductName"
equals = "Pretend"
result = "fakeaccept"

[[rule]]
name = "unwanted"
key = "ProductName"
equals = "Unwanted"
result = "reject"

[[rule]]
name = "old"
key = "ProductName"
equals = "Old"
result = "ignore"

[[rule]]
name = "rest"
key = "*"
result = "accept"
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.fixture
def tokens(tmp_path):
    """Makes tokens: `tokens(product="secret")`."""

    def make(**secrets):
        folder = tmp_path / "state" / "credentials" / "crashes"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{user_of(name)}:{hash_password(secret)}" for name, secret in secrets.items() if name != "submitter"]
        if "submitter" in secrets:
            lines.append(f"{SUBMITTER}:{hash_password(secrets['submitter'])}")
        path = folder / "tokens.txt"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)

    return make


def document_of(stored):
    return json.loads(stored["raw_crash.json"])


# ---- throttling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "digit", "result", "legacy"), [("Rest", "0", "accept", 0), ("Later", "1", "defer", 1)]
)
def test_what_is_kept_has_its_verdict_in_the_id_and_in_the_document(
    running, field, rules, product, digit, result, legacy
):
    with running(rules=str(rules)) as gatherer:
        stored = gatherer.accept(field("ProductName", product))
    document = document_of(stored)
    assert document["uuid"][-7] == digit
    metadata = document["metadata"]
    assert (metadata["throttle_result"], metadata["legacy_processing"]) == (result, legacy)
    assert metadata["throttle_rule"] == ("later" if result == "defer" else "rest")


def test_what_the_rules_reject_is_told_so_and_is_not_kept(running, field, rules):
    with running(rules=str(rules)) as gatherer:
        assert gatherer.submit(field("prod", "Unwanted"))[:2] == (200, "Discarded=rule_unwanted")
        assert gatherer.submit(field("ProductName", "Old"))[:2] == (200, "Unsupported=1\n")
        status, text, _ = gatherer.submit(field("ProductName", "Pretend"))
        assert status == 200
        assert text.startswith("CrashID=bp-")
        assert text[-8] == "3"
        assert gatherer.files() == gatherer.leftovers() == []
        metrics = gatherer.post(b"", {}, "/metrics", "GET")[1]
    assert 'socorro_collector_breakpad_resource_throttle_rule_total{rule="unwanted"}' in metrics
    assert [(entry["verdict"], entry["reason"]) for entry in gatherer.journal()] == [("refused", "throttled")] * 3
    assert "rule unwanted" in gatherer.journal()[0]["detail"]


def test_a_large_report_that_is_rejected_leaves_nothing(running, field, file, rules):
    with running(rules=str(rules)) as gatherer:
        status, text, _ = gatherer.submit(file("upload_file_minidump", DUMP * 20_000), field("prod", "Unwanted"))
        assert (status, text) == (200, "Discarded=rule_unwanted")
        assert gatherer.files() == gatherer.leftovers() == []


def test_rules_that_change_hold_from_then_on_and_wrong_ones_do_not(running, field, rules, caplog):
    import os
    import time

    def change(text, seen):
        """Writes the rules, and waits until `seen()`: they are looked at once a second, when a report comes."""
        rules.write_text(text)
        os.utime(rules, (NOW + change.times, NOW + change.times))
        change.times += 1
        until = time.monotonic() + 60
        while not seen():
            assert time.monotonic() < until
            time.sleep(0.02)

    def rejected_by():
        return gatherer.submit(field("prod", "Unwanted"))[1]

    def complained():
        rejected_by()
        return [record for record in caplog.records if "stay in force" in record.getMessage()]

    change.times = 1
    with running(rules=str(rules)) as gatherer:
        assert gatherer.submit(field("prod", "Unwanted"))[1] == "Discarded=rule_unwanted"
        change(RULES.replace('"unwanted"', '"renamed"'), lambda: rejected_by() == "Discarded=rule_renamed")
        assert gatherer.submit(field("prod", "Unwanted"))[1] == "Discarded=rule_renamed"
        change("[[rule]]\nname = 7\n", complained)
        assert gatherer.submit(field("prod", "Unwanted"))[1] == "Discarded=rule_renamed"


def test_wrong_rules_keep_the_collector_from_starting(running, rules):
    from lae_monitor.config import ConfigError

    rules.write_text('[[rule]]\nname = "x"\nkey = "a"\nresult = "keep"\n')
    with pytest.raises(ConfigError) as error, running(rules=str(rules)):
        pass
    assert "gatherers.crashes.rules" in str(error.value)


# ---- ids -----------------------------------------------------------------------------------------------------------


def test_the_digit_can_be_the_radix_depth_of_the_old_file_system(running, field):
    with running(id_depth=2, id_prefix="xx-") as gatherer:
        status, text, _ = gatherer.submit(field("prod", "P"))
    assert status == 200
    assert text.startswith("CrashID=xx-")
    assert text[-8] == "2"
    (path,) = gatherer.files()
    assert path.stem == text.strip().removeprefix("CrashID=xx-")


def test_an_id_of_ones_own_needs_the_submitters_token(running, field, tokens):
    tokens(submitter="right", Other="other")
    with running() as gatherer:
        report = (field("prod", "P"), field("uuid", ID))
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer other"}):
            assert gatherer.submit(*report, **headers)[:2] == (401, "Discarded=unauthorized_uuid")
        assert gatherer.files() == []
        assert gatherer.submit(field("prod", "P"), field("uuid", "no id"), Authorization="Bearer right")[:2] == (
            400,
            "Discarded=malformed_invalid_uuid",
        )
        assert gatherer.submit(*report, Authorization="Bearer right")[:2] == (200, f"CrashID=bp-{ID}\n")
        metadata = document_of(gatherer.stored(f"CrashID=bp-{ID}\n"))["metadata"]
        assert metadata["throttle_rule"] == "FROM_CRASHID"
        assert metadata["replaced"] == {}
        metrics = gatherer.post(b"", {}, "/metrics", "GET")[1]
    assert "socorro_collector_breakpad_resource_unauthorized_uuid_total" in metrics


def test_a_submitters_token_in_the_url_is_none(running, form, field, tokens):
    tokens(submitter="right")
    body = form(field("prod", "P"), field("uuid", ID))
    with running() as gatherer:
        answer = gatherer.post(body, {"Content-Type": "multipart/form-data; boundary=B"}, "/submit?token=right")
        assert answer[:2] == (401, "Discarded=unauthorized_uuid")


def test_nobody_may_bring_an_id_where_no_token_is(gatherer, field):
    assert gatherer.submit(field("prod", "P"), field("uuid", ID), Authorization="Bearer x")[0] == 401


def test_the_same_report_again_under_its_id_is_acknowledged_and_kept_once(running, field, file, tokens):
    tokens(submitter="right")
    report = (field("prod", "P"), field("uuid", DEFERRED), file("upload_file_minidump", DUMP))
    with running() as gatherer:
        for _ in range(3):
            answer = gatherer.submit(*report, Authorization="Bearer right")
            assert answer[:2] == (200, f"CrashID=bp-{DEFERRED}\n")
        other = (*report[:2], file("upload_file_minidump", DUMP + b"x"))
        assert gatherer.submit(*other, Authorization="Bearer right")[:2] == (409, "Discarded=already_stored")
        assert len(gatherer.files()) == 1
        stored = gatherer.stored(f"CrashID=bp-{DEFERRED}\n")
    assert stored["upload_file_minidump"] == DUMP
    assert document_of(stored)["metadata"]["legacy_processing"] == 1
    assert [entry["verdict"] for entry in gatherer.journal()].count("accepted") == 1


# ---- tokens --------------------------------------------------------------------------------------------------------


def test_a_product_with_a_token_needs_it_and_the_others_do_not(running, field, tokens):
    tokens(**{"My Editor": "secret"})
    with running() as gatherer:
        assert gatherer.submit(field("ProductName", "My Editor"))[:2] == (401, "Discarded=unauthorized")
        assert gatherer.submit(field("ProductName", "My Editor"), Authorization="Bearer secrets")[0] == 401
        assert gatherer.submit(field("ProductName", "My Editor"), Authorization="bearer secret")[0] == 200
        assert gatherer.submit(field("ProductName", "Else"))[0] == 200
        body = b'--B\r\nContent-Disposition: form-data; name="prod"\r\n\r\nMy Editor\r\n--B--\r\n'
        media = {"Content-Type": "multipart/form-data; boundary=B"}
        status, text, _ = gatherer.post(body, media, "/submit?token=secret")
        assert status == 200
        assert b"secret" not in gatherer.stored(text)["raw_crash.json"]
        tokens(**{"My Editor": "newer"})
        assert gatherer.submit(field("ProductName", "My Editor"), Authorization="Bearer newer")[0] == 200
    assert "secret" not in json.dumps(gatherer.journal())


def test_a_token_can_be_required_of_all(running, field, tokens):
    tokens(Known="secret")
    with running(require_token=True) as gatherer:
        assert gatherer.submit(field("ProductName", "Else"))[:2] == (401, "Discarded=unauthorized")
        assert gatherer.submit(field("ProductName", "Else"), Authorization="Bearer secret")[0] == 401
        assert gatherer.submit(field("ProductName", "Known"), Authorization="Bearer secret")[0] == 200


# ---- what else is configured ---------------------------------------------------------------------------------------


def test_removed_fields_are_gone_wherever_they_were_and_a_note_says_so(running, field, file):
    extra = json.dumps({"Email": "someone@example.org", "Keep": "1"})
    with running() as gatherer:
        stored = gatherer.accept(
            field("extra", extra, "Content-Type: application/json\r\n"), field("TelemetryClientId", "abc")
        )
    document = document_of(stored)
    assert b"someone@example.org" not in stored["raw_crash.json"]
    assert "TelemetryClientId" not in document
    assert document["Keep"] == "1"
    notes = document["metadata"]["collector_notes"]
    assert "Removed Email from raw crash." in notes
    assert "Removed TelemetryClientId from raw crash." in notes
    with running(removed_fields=[]) as gatherer:
        assert document_of(gatherer.accept(field("Email", "a@b")))["Email"] == "a@b"


def test_firefox_hears_where_to_look_and_when_to_stop(running, field):
    view = "https://monitoring.example/report/{crash_id}"
    with running(view_url=view, end_of_life={"Firefox": ["3.*", "52.0"]}) as gatherer:
        for release, over in (("3.6", True), ("52.0", True), ("52.01", False), ("3\n", False)):
            _, text, _ = gatherer.submit(field("ProductName", "Firefox"), field("Version", release))
            crash, url, *stop = text.splitlines()
            crash_id = crash.removeprefix("CrashID=bp-")
            assert url == f"ViewURL=https://monitoring.example/report/{crash_id}"
            assert stop == ([f"StopSendingReportsFor={release}"] if over else []), release
        _, text, _ = gatherer.submit(field("ProductName", "Thunderbird"), field("Version", "3.6"))
        assert len(text.splitlines()) == 2


def test_other_entrances_answer_with_the_id_alone(running, field, tokens):
    body = b'--B\r\nContent-Disposition: form-data; name="guid"\r\n\r\nx\r\n--B--\r\n'
    media = {"Content-Type": "multipart/form-data; boundary=B"}
    tokens(**{"42": "key"})
    with running() as gatherer:
        status, text, _ = gatherer.post(body, media, "/post")
        assert status == 200
        gatherer.stored(f"CrashID=bp-{text}\n")
        for path in ("/api/42/minidump/?sentry_key=key", "/api/42/minidump?sentry_key=key"):
            status, text, headers = gatherer.post(body, media, path)
            assert status == 200
            assert headers["content-type"].startswith("text/plain")
            document = document_of(gatherer.stored(f"CrashID=bp-{text}\n"))
            assert (document["prod"], document["metadata"]["project"]) == ("42", "42")
        assert gatherer.post(body, media, "/api/42/minidump/?sentry_key=wrong")[:2] == (401, "Discarded=unauthorized")
        assert gatherer.post(DUMP, {"Content-Type": "application/octet-stream"}, "/api/7/minidump/")[0] == 200
        for path in ("/api/42/envelope/", "/api//minidump/", "/api/minidump/", "/api/" + "x" * 101 + "/minidump/"):
            assert gatherer.post(body, media, path)[0] == 404
        assert gatherer.post(b"", {}, "/__broken__", "GET")[0] == 500


def test_statsd_gets_antennas_measurements(running, field):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)
        port = listener.getsockname()[1]
        with running(statsd=f"127.0.0.1:{port}") as gatherer:
            gatherer.accept(field("prod", "P"), encoding="gzip")
            gatherer.submit(encoding="gzip")
            gatherer.post(b"", {}, "/__lbheartbeat__", "GET")
            seen = {}
            while "socorro.collector.health.lbheartbeat.count" not in seen:
                name, _, rest = listener.recv(2000).decode().partition(":")
                seen[name] = rest
    host = f"host:{socket.gethostname()}"
    assert seen["socorro.collector.breakpad_resource.incoming_crash"] == f"1|c|#{host}"
    assert seen["socorro.collector.breakpad_resource.throttle"] == f"1|c|#{host},result:accept"
    assert seen["socorro.collector.breakpad_resource.throttle_rule"].startswith("1|c|#")
    assert seen["socorro.collector.breakpad_resource.malformed"].endswith(",reason:no_annotations")
    assert seen["socorro.collector.crashmover.save_crash.count"] == f"1|c|#{host}"
    for name in ("breakpad_resource.on_post.time", "crashmover.crash_save.time", "crashmover.crash_handling.time"):
        assert "|ms|#" in seen[f"socorro.collector.{name}"]
    assert "|h|#" in seen["socorro.collector.breakpad_resource.crash_size"]


# ---- what breaks while it runs -------------------------------------------------------------------------------------


def test_tokens_that_cannot_be_read_any_more_stay_in_force_and_come_back(running, field, tokens, tmp_path, caplog):
    tokens(Known="secret")
    folder = tmp_path / "state" / "credentials" / "crashes"
    with running() as gatherer:
        for broken in (
            lambda: folder.rename(folder.with_name("away")),
            lambda: (folder / "tokens.txt").write_text("rubbish"),
        ):
            assert gatherer.submit(field("prod", "Known"))[0] == 401
            assert gatherer.submit(field("prod", "Known"), Authorization="Bearer secret")[0] == 200
            broken()
            assert gatherer.submit(field("prod", "Known"))[0] == 401
            assert gatherer.submit(field("prod", "Known"), Authorization="Bearer secret")[0] == 200
            assert gatherer.submit(field("prod", "Else"))[0] == 200
            if not folder.exists():
                folder.with_name("away").rename(folder)
    told = [record.getMessage() for record in caplog.records if "stay in force" in record.getMessage()]
    assert len(told) == 2, told


def test_tokens_that_could_never_be_read_let_nobody_in(running, tmp_path):
    from lae_monitor.config import ConfigError

    folder = tmp_path / "state" / "credentials" / "crashes"
    folder.mkdir(parents=True)
    (folder / "tokens.txt").write_text("rubbish")
    with pytest.raises(ConfigError) as error, running():
        pass
    assert "not of the form" in str(error.value)


def test_a_product_that_is_half_a_character_needs_no_token_and_breaks_nothing(running, field, tokens):
    tokens(Known="secret")
    with running() as gatherer:
        extra = field("extra", b'{"ProductName": "\\ud800"}', "Content-Type: application/json\r\n")
        assert gatherer.submit(extra)[0] == 200


def test_rules_that_become_a_folder_cost_no_descriptors(running, field, rules):
    import os
    import time

    def opened() -> list[str]:
        """What this process has open of the rules."""
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:
                continue
        return [path for path in found if "rules.toml" in path]

    with running(rules=str(rules)) as gatherer:
        gatherer.submit(field("prod", "Unwanted"))
        rules.rename(rules.with_name("away"))
        rules.mkdir()
        for _ in range(4):
            time.sleep(1.05)  # the file is looked at once a second
            assert gatherer.submit(field("prod", "Unwanted"))[1] == "Discarded=rule_unwanted"
        assert opened() == []


def test_another_report_under_a_stored_id_is_refused_though_neither_has_a_file(running, field, tokens):
    tokens(submitter="right")
    with running() as gatherer:
        for product, status in (("A", 200), ("A", 200), ("B", 409)):
            answer = gatherer.submit(field("prod", product), field("uuid", ID), Authorization="Bearer right")
            assert answer[0] == status


def test_an_id_of_a_day_that_is_yet_to_come_is_refused(running, field, tokens):
    tokens(submitter="right")
    with running() as gatherer:
        report = (field("prod", "P"), field("uuid", ID[:-6] + "991231"))
        answer = gatherer.submit(*report, Authorization="Bearer right")
        assert answer[:2] == (400, "Discarded=malformed_invalid_uuid")


def test_projects_that_are_no_names_are_not_found(gatherer):
    for path in ("/api/%2e%2e/minidump/", "/api/./minidump/", "/api/%ff/minidump/"):
        assert gatherer.post(DUMP, {"Content-Type": "application/octet-stream"}, path)[0] == 404


def test_a_statsd_host_that_nobody_knows_keeps_nothing_from_starting(running, field):
    with running(statsd="nohost.invalid:8125") as gatherer:
        gatherer.accept(field("prod", "P"))


def test_a_connection_that_is_cut_off_hears_what_other_refusals_hear(running):
    head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 90\r\n\r\n"
    with running(idle_timeout=0.3) as gatherer:
        answer = gatherer.exchange(head)
        assert answer.endswith(b"\r\n\r\nDiscarded=too_slow")
        assert b"\r\nContent-Type: text/plain\r\n" in answer


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE "])
def test_a_client_that_offers_http_2_is_answered_in_http_1(gatherer, form, field, name):
    body = form(field("prod", "P"))
    head = (
        b"POST /submit HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n" + name.strip() + b": h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    )
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"GET /ping HTTP/1.0\r\n\r\n"
    answer = gatherer.exchange(request)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"CrashID=" in answer
    assert answer.endswith(b"pong\n")


def test_an_upgrade_that_comes_in_pieces_is_refused_and_its_body_is_no_request(gatherer):
    import time

    with gatherer.connect() as connection:
        for piece in (
            b"POST /submit HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgr",
            b"ade: h2c\r\nContent-Length: 30\r\n\r\n",
        ):
            connection.sendall(piece)
            time.sleep(0.2)  # so that they come apart
        connection.sendall(b"GET /__version__ HTTP/1.1\r\n\r\n")
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"lae-monitor" not in answer


def test_rubbish_after_a_report_does_not_cost_its_answer(gatherer, form, field, caplog):
    body = form(field("prod", "P"))
    head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n"
    one = head % len(body) + body
    answer = gatherer.exchange(one + one + b"GARBAGE\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(b"CrashID=") == 2
    assert not [record for record in caplog.records if record.exc_info]

"""`lae-monitor crashes submit` sends what a real client would, and says what came of it."""

import hashlib
import http.server
import json
import threading

import pytest
from command_line import lae_monitor

from lae_monitor.kinds.crashes.form import minidump


@pytest.fixture
def submit():
    def run(*arguments):
        done = lae_monitor("crashes", "submit", *map(str, arguments))
        return done.returncode, done.stdout, done.stderr

    return run


def url(gatherer):
    return f"http://127.0.0.1:{gatherer.port}/submit"


def test_a_made_up_crash_is_accepted(gatherer, submit):
    code, out, _ = submit("--url", url(gatherer), "--annotation", "a=b=c", "--annotation", 'odd"%=x')
    assert code == 0
    first, following = out.splitlines()
    stored = gatherer.stored(first + "\n")
    document = json.loads(stored["raw_crash.json"])
    assert (document["a"], document['odd"%'], document["ProductName"]) == ("b=c", "x", "lae-test")
    assert stored["upload_file_minidump"].startswith(b"MDMP")
    assert following == f"Next: lae-monitor report show {document['uuid']}"


def test_a_given_dump_and_then_its_zip_arrive_as_they_are(gatherer, submit, tmp_path):
    dump = minidump(5) + b"\0" * 100_000
    (tmp_path / "x.dmp").write_bytes(dump)
    code, out, _ = submit("--json", "--gzip", "--url", url(gatherer), tmp_path / "x.dmp", "--annotation", "version=7")
    answer = json.loads(out)
    assert (code, answer["status"]) == (0, 200)
    first = gatherer.stored(answer["reply"] + "\n")
    assert first["upload_file_minidump"] == dump
    assert json.loads(first["raw_crash.json"])["metadata"]["payload_compressed"] == "1"
    (zipped,) = gatherer.files()
    code, out, _ = submit("--url", url(gatherer), zipped)
    assert code == 0
    second = gatherer.stored(out.splitlines()[0] + "\n")
    assert second["upload_file_minidump"] == dump
    documents = [json.loads(stored["raw_crash.json"]) for stored in (first, second)]
    assert documents[0]["uuid"] != documents[1]["uuid"]
    assert documents[1]["metadata"]["replaced"] == {"version": "7"}
    checksum = hashlib.sha256(dump).hexdigest()
    assert [document["metadata"]["dump_checksums"]["upload_file_minidump"] for document in documents] == [checksum] * 2


def test_annotations_that_are_no_text_survive_being_sent_again(gatherer, submit, field):
    gatherer.submit(field("extra", '{"n": 1, "d": {"a": null}}', "Content-Type: application/json\r\n"))
    (zipped,) = gatherer.files()
    code, out, _ = submit("--url", url(gatherer), zipped)
    assert code == 0
    document = json.loads(gatherer.stored(out.splitlines()[0] + "\n")["raw_crash.json"])
    assert (document["n"], document["d"]) == (1, {"a": None})


def test_a_refusal_says_why_and_what_next(running, submit, tmp_path):
    (tmp_path / "big.dmp").write_bytes(b"MDMP" + bytes(20_000_000))
    with running(max_body=1000) as gatherer:
        code, out, err = submit("--url", url(gatherer), tmp_path / "big.dmp")
        assert (code, out) == (1, "")
        assert "body_too_large: the body is larger than the limit" in err
        assert "Next: send less" in err
        code, out, _ = submit("--json", "--url", url(gatherer).replace("/submit", "/other"))
        assert code == 1
        assert "404 Not Found" in json.loads(out)["error"]


def test_nobody_there_is_69_and_mistakes_are_2(submit, tmp_path):
    code, _, err = submit("--url", "http://127.0.0.1:1/submit")
    assert code == 69
    assert "Next: start the collector" in err
    (tmp_path / "x").write_bytes(b"no dump")
    assert submit(tmp_path / "x")[0] == 2
    assert submit("--annotation", "novalue")[0] == 2
    assert submit("--url", "ftp://x/")[0] == 2
    assert submit(tmp_path / "missing")[0] == 2


class Hostile(http.server.BaseHTTPRequestHandler):
    """Answers as no collector does."""

    status = 200

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"CrashID=bp-\x1b[2J\x07\xc2\x9b1m" + b"x" * 5000
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "\x1b[31m5")
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (404, 1), (503, 75)])
def test_what_answers_cannot_drive_the_terminal(submit, monkeypatch, status, code):
    monkeypatch.setattr(Hostile, "status", status)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        said, out, err = submit("--url", f"http://127.0.0.1:{server.server_port}/submit")
        server.shutdown()
    assert said == code
    assert not set("\x1b\x07\x9b") & set(out + err)
    assert "CrashID=bp-\\x1b[2J" in out + err
    assert len(out + err) < 1000


def test_a_report_that_a_rule_rejects_is_told_so(running, submit, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "unwanted"\nkey = "Wanted"\nequals = "no"\nresult = "reject"\n')
    rules.write_text(rules.read_text() + '[[rule]]\nname = "old"\nkey = "Wanted"\nequals = "old"\nresult = "ignore"\n')
    with running(rules=str(rules)) as gatherer:
        for wanted, words in (("no", "throttle rule unwanted rejects it"), ("old", "its product is not supported")):
            code, out, err = submit("--url", url(gatherer), "--annotation", f"Wanted={wanted}")
            assert (code, out) == (1, "")
            assert f"not kept: {words}" in err
            assert "Next: lae-monitor crashes throttle-test" in err


def test_a_token_and_further_lines_of_the_reply(running, submit, tmp_path):
    from lae_monitor.net.passwords import hash_password

    folder = tmp_path / "state" / "credentials" / "crashes"
    folder.mkdir(parents=True)
    (folder / "tokens.txt").write_text(f"lae-test:{hash_password('secret')}\n")
    token = tmp_path / "token"
    token.write_text("secret\n")
    with running(view_url="https://x/{crash_id}", id_prefix="xx-") as gatherer:
        assert submit("--url", url(gatherer))[0] == 1
        code, out, _ = submit("--url", url(gatherer), "--token-file", token)
        (path,) = gatherer.files()
    assert (code, out.splitlines()) == (0, [f"CrashID=xx-{path.stem}", f"Next: lae-monitor report show {path.stem}"])

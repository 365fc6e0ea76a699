"""Crashes are handed on to another collector as their clients sent them: to ours, with and without their ids, and to others."""

import gzip
import hashlib
import http.server
import json
import socket
import threading
from contextlib import suppress

import msgspec
import pytest

from lae_monitor.config.settings import State
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.destination import Unavailable
from lae_monitor.kinds.crashes.crashmover.posting import post
from lae_monitor.net.passwords import hash_password

TOKEN = "a-submitters-token"


@pytest.fixture
def collector(running, tmp_path):
    """Our own collector, which knows a submitter's token."""
    state = tmp_path / "collector"
    tokens = state / "credentials/crashes/tokens.txt"
    tokens.parent.mkdir(parents=True)
    tokens.write_text(f"*submitter*:{hash_password(TOKEN)}\n")
    tokens.chmod(0o600)

    def with_state(context):
        context.settings = msgspec.structs.replace(context.settings, state=State(path=state))

    with running(on_context=with_state, removed_fields=[]) as found:
        yield found


@pytest.fixture
def here(world):
    """The crashmover's own archive lies beside the collector's."""
    world.folder = world.folder / "here"
    world.folder.mkdir()
    return world


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def url(collector):
    return f"http://127.0.0.1:{collector.port}/submit"


@pytest.mark.parametrize("compress", [True, False])
def test_our_own_collector_keeps_id_annotations_and_dumps(here, collector, token_file, compress):
    for number in range(5):
        here.put(digit=number % 2, Serial=str(number), **{'odd"%': "x\r\ny"})
    settings = config.Http(url=url(collector), token_file=token_file, gzip=compress)
    assert here.run(settings).sent == 5
    assert {path.stem for path in collector.files()} == {crash.id for crash in here.crashes}
    for crash in here.crashes:
        stored = collector.stored(f"CrashID=bp-{crash.id}\n")
        document = json.loads(stored.pop("raw_crash.json"))
        assert stored == crash.dumps
        assert (document["Serial"], document['odd"%'], document["uuid"]) == (
            crash.document["Serial"],
            "x\r\ny",
            crash.id,
        )
        assert document["metadata"]["dump_checksums"] == crash.document["metadata"]["dump_checksums"]


def test_one_that_is_sent_twice_is_there_once(here, collector, token_file):
    crash = here.put()
    settings = config.Http(url=url(collector), token_file=token_file)
    here.run(settings)
    (here.folder / "crashmover.db").unlink()
    assert here.run(settings).sent == 1
    assert [path.stem for path in collector.files()] == [crash.id]


def test_without_a_token_the_other_id_is_noted(here, collector):
    crash = here.put()
    assert here.run(config.Http(url=url(collector))).sent == 1
    (path,) = collector.files()
    assert path.stem != crash.id
    assert path.stem in here.of(crash)["http"]["place"]


def test_a_token_that_is_not_known_is_waited_for(here, collector, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("not-it")
    here.put()
    settings = config.Http(url=url(collector), token_file=wrong)
    assert here.run(settings).left == 1
    assert here.run(config.Http(url=url(collector), token_file=tmp_path / "missing")).left == 1
    wrong.write_text(TOKEN)
    assert here.run(settings).sent == 1


def test_annotations_that_are_no_text_and_replaced_ones_go_as_they_came(here, collector, token_file):
    crash = here.put(
        Number=5, Nested={"a": [1]}, metadata={"replaced": {"version": "7"}, "filenames": {"memory_report": "m.gz"}}
    )
    here.run(config.Http(url=url(collector), token_file=token_file))
    document = json.loads(collector.stored(f"CrashID=bp-{crash.id}\n")["raw_crash.json"])
    assert (document["Number"], document["Nested"]) == (5, {"a": [1]})
    assert document["metadata"]["replaced"]["version"] == "7"
    assert document["metadata"]["filenames"]["memory_report"] == "m.gz"


# ---- collectors with a will of their own ---------------------------------------------------------------------------


class Scripted:
    """Answers with what it was told, one reply after the other, the last one again and again."""

    def __init__(self, *replies: tuple[int, str, dict[str, str]]) -> None:
        self.replies = list(replies)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append(dict(self.headers))
                status, text, headers = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/submit"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def scripted():
    made = []

    def make(*replies):
        made.append(Scripted(*((*reply, {})[:3] for reply in replies)))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.mark.parametrize(
    "trouble", [(503, "Discarded=no_space"), (500, ""), (429, ""), (0, ""), (404, "no"), (302, "")]
)
def test_trouble_of_the_collector_is_over_some_day(world, scripted, trouble):
    crash = world.put()
    server = scripted(trouble, trouble, (200, "CrashID=bp-11111111-1111-4111-8111-111110261122\n"))
    world.run_until(lambda: world.sent("http") == 1, config.Http(url=server.url, gzip=False))
    assert world.of(crash)["http"]["attempts"] == 3
    assert len(server.bodies) == 3
    assert all(crash.dumps["upload_file_minidump"] in body for body in server.bodies)


@pytest.mark.parametrize(
    "no", [(200, "Discarded=rule_x"), (200, "hello"), (400, "Discarded=malformed_no_annotations"), (413, "too large")]
)
def test_what_it_does_not_want_is_a_dead_letter_at_once(world, scripted, no):
    world.put()
    server = scripted(no)
    assert world.run(config.Http(url=server.url)).dead == 1
    assert no[1] in world.dead()[0].error
    assert len(server.bodies) == 1


def test_a_reply_about_another_crash_does_not_count(world, scripted, token_file):
    world.put()
    server = scripted((200, "CrashID=bp-11111111-1111-4111-8111-111110261122\n"))
    assert world.run(config.Http(url=server.url, token_file=token_file)).dead == 1


def test_what_goes_over_the_wire(world, scripted, token_file):
    crash = world.put()
    server = scripted((200, f"CrashID=bp-{crash.id}\n"))
    assert world.run(config.Http(url=server.url, token_file=token_file, redact=["Version"])).sent == 1
    (headers,) = server.headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Encoding"] == "gzip"
    body = gzip.decompress(server.bodies[0])
    assert b'name="uuid"\r\n\r\n' + crash.id.encode() in body
    assert b"ProductName" in body and b"Version" not in body
    assert b"metadata" not in body and b"submitted_timestamp" not in body


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"])
def test_who_drips_bytes_is_left_at_the_deadline(begin):
    left = threading.Event()

    def drip(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(begin)
            for _ in range(1500):
                connection.sendall(b"x")
                left.wait(0.02)
            connection.sendall(b": x\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        with pytest.raises(Unavailable, match="took too long"):
            post(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, b"x", timeout=60, deadline=0.2)
        left.set()
        thread.join()


def test_retry_after_is_respected(world, scripted):
    crash = world.put()
    server = scripted((503, "", {"Retry-After": "1000"}))
    now = 1_795_000_000.0
    world.run(config.Http(url=server.url), clock=lambda: now)
    with world.ledger() as ledger:
        assert ledger.sends.next_try("http") == now + 1000
    assert hashlib.sha256(crash.path.read_bytes()).hexdigest()


# ---- telling ids over HTTP -----------------------------------------------------------------------------------------


def test_ids_are_posted_bare_after_the_save_and_again_until_they_were_heard(world, scripted):
    crash = world.put()
    server = scripted((500, ""), (0, ""), (202, ""))

    def told():
        with world.ledger() as ledger:
            return world.sent("null") == 1 and ledger.publishes.waiting() == 0

    world.run_until(told, config.Nowhere(publish=server.url))
    assert server.bodies == [crash.id.encode()] * 3

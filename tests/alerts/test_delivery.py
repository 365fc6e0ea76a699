"""One message, one destination: what the other side says and does, and what becomes of it. Real servers on loopback."""

import asyncio
import contextlib
import datetime as dt
import socket
import sqlite3
import ssl
import threading
import time
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from receivers import PATIENCE, Hooks

from lae_monitor.alerts.alarm import Alarm
from lae_monitor.alerts.deliver import FIRST_WAIT, GIVE_UP_AFTER, LONGEST_WAIT, Lane, deliver
from lae_monitor.alerts.ledger import Ledger, Message, look
from lae_monitor.alerts.mail import NotDelivered
from lae_monitor.config.settings import Alerts, Mail, Settings, State, Webhook

NOW = 1_790_000_000.0
CASES = Path(__file__).parent / "cases"


def alarm(number=1, **fields):
    made = {
        "id": f"alarm{number}", "rule": "host silent", "about": f"lae/node{number}", "cluster": "lae", "host": f"node{number}",
        "level": "error", "title": f"node{number} is silent", "text": "See: lae-monitor host list", "since": NOW, "raised": NOW,
    }  # fmt: skip
    return Alarm(**(made | fields))


@pytest.fixture
def settings(tmp_path):
    return Settings(state=State(path=tmp_path), alerts=Alerts(pages_url="https://mon.example/"))


def send(settings, destination, *alarms, had=()):
    message = Message("m1", NOW, list(alarms) or [alarm()])
    asyncio.run(deliver(settings, destination, message, list(had)))


def secret(settings, name, text, mode=0o600):
    path = settings.credentials / "alerts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


# ---- webhook -------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_document(settings, hooks):
    secret(settings, "webhook", "t0ken\n")
    send(settings, Webhook(url=hooks.url), alarm(attrs={"group_id": "a/b"}))
    (body,) = hooks.taken
    assert (body["version"], body["id"], body["monitor"], body["title"]) == (1, "m1", "lae", "[lae] node1 is silent")
    assert body["alarms"][0]["url"] == "https://mon.example/group/a%2Fb"
    assert hooks.headers[0]["Authorization"] == "Bearer t0ken"
    assert hooks.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_a_webhook_that_answers_otherwise_did_not_take_it(settings, hooks, status):
    hooks.status = status
    with pytest.raises(NotDelivered, match=str(status)):
        send(settings, Webhook(url=hooks.url))
    assert len(hooks.got) == 1  # nobody is followed elsewhere


def test_an_address_that_is_a_secret_is_in_a_file_and_in_no_error(settings, hooks):
    with pytest.raises(NotDelivered, match=r"credentials/alerts/chat\.url: there is no such file"):
        send(settings, Webhook(name="chat"))
    secret(settings, "chat.url", hooks.url + "?key=hush")
    send(settings, Webhook(name="chat"))
    assert len(hooks.taken) == 1
    secret(settings, "chat.url", "http://127.0.0.1:1/?key=hush")
    with pytest.raises(NotDelivered) as caught:
        send(settings, Webhook(name="chat"))
    assert "hush" not in str(caught.value)


def test_a_secret_that_others_may_read_is_not_used(settings, hooks):
    secret(settings, "webhook", "t0ken", mode=0o644)
    with pytest.raises(NotDelivered, match="others may read it; chmod 600"):
        send(settings, Webhook(url=hooks.url))
    assert hooks.got == []


def test_a_webhook_that_says_nothing_is_left(settings, hooks):
    hooks.hang.set()
    with pytest.raises(NotDelivered, match=r"no answer within 0\.5 s"):
        send(settings, Webhook(url=hooks.url, timeout=0.5))


@pytest.mark.parametrize("answer", [b"", b"\x00\xff" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"])
def test_who_speaks_no_http_is_an_error_of_his(settings, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        destination = Webhook(url=f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=10.0)
        if answer.startswith(b"HTTP/1.1 200"):
            send(settings, destination)  # it said that it took it
        else:
            with pytest.raises(NotDelivered):
                send(settings, destination)
        thread.join()


# ---- mail ----------------------------------------------------------------------------------------------------------


def mail(server, **fields):
    return Mail(**({"to": ["ops@example.org"], "sender": "mon@example.org", "server": server.address} | fields))


def test_a_mail_says_what_and_what_to_do(settings, mails):
    send(settings, mail(mails))
    ((to, got),) = mails.got
    assert to == ("ops@example.org",)
    assert got["Subject"] == "[lae] node1 is silent"
    assert got["Message-ID"] == "<m1@lae.lae-monitor>"
    assert got["Date"]
    text = got.get_content()
    assert "See: lae-monitor host list" in text
    assert "https://mon.example/host/lae/node1" in text


def test_nothing_in_an_alarm_adds_a_header_or_an_address(settings, mails):
    hostile = alarm(
        title="a\r\nBcc: evil@example.org", text="x\r\n.\r\nMAIL FROM:<evil@example.org>\r\n", cluster="ü\u202e"
    )
    send(settings, mail(mails), hostile)
    ((to, got),) = mails.got
    assert to == ("ops@example.org",)
    assert got["Bcc"] is None
    assert got["Subject"] == "[lae] a\\r Bcc: evil@example.org"
    assert "MAIL FROM" in got.get_content()


def test_who_is_refused_is_tried_again_and_the_others_are_not(settings, mails):
    mails.refused["b@example.org"] = "550 no such user"
    destination = mail(mails, to=["a@example.org", "b@example.org", "c@example.org"])
    with pytest.raises(NotDelivered, match=r"b@example\.org: 550 no such user") as caught:
        send(settings, destination)
    assert caught.value.had == ["a@example.org", "c@example.org"]
    mails.refused.clear()
    send(settings, destination, had=caught.value.had)
    assert [to for to, _ in mails.got] == [("a@example.org", "c@example.org"), ("b@example.org",)]
    send(settings, destination, had=["a@example.org", "b@example.org", "c@example.org"])
    assert len(mails.got) == 2


def test_a_mail_server_that_drips_is_left(settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                try:
                    while not ended.wait(0.05):
                        connection.sendall(b"220-")
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            destination = Mail(to=["a@example.org"], server=f"127.0.0.1:{server.getsockname()[1]}", timeout=1.0)
            with pytest.raises(NotDelivered, match=r"longer than 1 s|Line too long|timed out"):
                send(settings, destination)
        finally:
            ended.set()
            thread.join()


def test_a_server_without_tls_gets_nothing_when_tls_is_wanted(settings, mails):
    for security in ("starttls", "tls"):
        with pytest.raises(NotDelivered):
            send(settings, mail(mails, security=security, timeout=5.0))
    assert mails.got == []


def test_a_user_needs_a_password(settings, mails):
    with pytest.raises(NotDelivered, match="credentials/alerts/mail: there is no such file"):
        send(settings, mail(mails, user="mon"))


# ---- retrying ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def run_lane(settings, destination, path, clock, until):
    """A lane that runs until the ledger is as wanted, the clock jumping to the next try each time; what was given up."""
    given_up = []

    async def main():
        ledger = Ledger(path)
        if not look(path).deliveries:
            with ledger.transaction():
                ledger.send(Message("m1", NOW, [alarm()]), destination.title)
        lane = Lane(settings, destination, ledger, given_up.append, clock)
        stop = asyncio.Event()
        task = asyncio.create_task(lane.run(stop))
        end = time.monotonic() + PATIENCE
        while not until(look(path).deliveries[0]):
            assert time.monotonic() < end, look(path).deliveries
            await asyncio.sleep(0.01)
            if (waiting := ledger.next_delivery(destination.title)) and waiting.next_try > clock.now:
                clock.now = waiting.next_try
                lane.new.set()
        stop.set()
        lane.new.set()
        await task
        ledger.close()

    asyncio.run(main())
    return given_up


def test_it_is_tried_again_ever_later_until_it_is_taken(settings, hooks, tmp_path):
    hooks.status = 503
    clock, path = Clock(), tmp_path / "alerts.db"
    destination = Webhook(url=hooks.url)
    run_lane(settings, destination, path, clock, lambda one: one.attempts >= 4)
    (waiting,) = look(path).deliveries
    assert waiting.state == "pending"
    assert clock.now - NOW >= FIRST_WAIT * 7  # 5 + 10 + 20
    hooks.status = 200
    assert run_lane(settings, destination, path, clock, lambda one: one.state == "done") == []
    assert len(hooks.taken) == 1


def test_a_ledger_of_an_earlier_release_goes_on(settings, hooks, mails, tmp_path):
    path = tmp_path / "alerts.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript((CASES / "alerts-of-an-earlier-release.sql").read_text())
    before = {(one.message, one.destination): one for one in look(path).deliveries}
    assert {key: (one.state, one.attempts) for key, one in before.items()} == {
        ("m1", "mail"): ("pending", 3), ("m1", "webhook"): ("done", 2), ("m2", "webhook"): ("given up", 99),
        ("m3", "webhook"): ("pending", 0),
    }  # fmt: skip
    ledger = Ledger(path)
    mail_to = mail(mails, to=["a@example.org", "b@example.org"])
    lanes = [
        Lane(settings, to, ledger, pytest.fail, lambda: NOW + 100) for to in (Webhook(url=hooks.url), mail_to)
    ]  # fmt: skip

    async def main():
        stop = asyncio.Event()
        tasks = [asyncio.create_task(lane.run(stop)) for lane in lanes]
        end = time.monotonic() + PATIENCE
        while any(one.state == "pending" for one in look(path).deliveries) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        stop.set()
        for lane in lanes:
            lane.new.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    ledger.close()
    assert [body["id"] for body in hooks.taken] == ["m3"]
    assert [to for to, _ in mails.got] == [("b@example.org",)], "the other address has it since before"
    after = {(one.message, one.destination): one for one in look(path).deliveries}
    assert (after["m1", "mail"].state, after["m1", "mail"].attempts, after["m1", "mail"].error) == ("done", 4, "")
    for key in (("m1", "webhook"), ("m2", "webhook")):
        assert after[key] == before[key]


def test_after_a_week_it_is_given_up_and_said(settings, hooks, tmp_path):
    hooks.status = 503
    clock, path = Clock(), tmp_path / "alerts.db"
    ledger = Ledger(path)
    with ledger.transaction():
        ledger.send(Message("m1", NOW, [alarm()]), "webhook")
    ledger.close()
    clock.now = NOW + GIVE_UP_AFTER
    (told,) = run_lane(settings, Webhook(url=hooks.url), path, clock, lambda one: one.state == "given up")
    assert (told.message, told.destination) == ("m1", "webhook")
    assert len(hooks.got) == 1


def test_a_clock_that_was_set_back_holds_nothing_up(tmp_path):
    ledger = Ledger(tmp_path / "alerts.db")
    with ledger.transaction():
        ledger.send(Message("m1", NOW + 1e6, [alarm()]), "webhook")
    ledger.outbox.hasten(NOW, NOW + LONGEST_WAIT, "webhook")
    assert ledger.next_delivery("webhook").next_try == NOW
    assert ledger.drop_others(["mail"], NOW) == 1
    assert ledger.next_delivery("webhook") is None
    assert look(tmp_path / "alerts.db").deliveries[0].error == "no longer a destination"
    ledger.close()


@pytest.fixture
def localhosts(tmp_path):
    """A certificate of localhost that nobody vouches for: its file, and what serves with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = tmp_path / "localhost.pem"
    pem = serialization.Encoding.PEM
    certificate.write_bytes(
        signed.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return certificate, context


def test_a_mail_server_has_to_be_who_it_says(settings, localhosts, monkeypatch):
    certificate, context = localhosts
    got = []

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            got.append(envelope)
            return "250 taken"

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True)
    controller.start()
    try:
        destination = Mail(to=["a@example.org"], server=f"localhost:{port}", security="starttls", timeout=10.0)
        with pytest.raises(NotDelivered, match="certificate"):
            send(settings, destination)
        assert got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(settings, destination)
        assert len(got) == 1
    finally:
        controller.stop()


def test_a_webhook_has_to_be_who_it_says(settings, localhosts, monkeypatch):
    certificate, context = localhosts
    with Hooks(tls=context) as hooks:
        destination = Webhook(url=f"https://localhost:{hooks.port}/alarms")
        with pytest.raises(NotDelivered, match="certificate"):
            send(settings, destination)
        assert hooks.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(settings, destination)
        assert len(hooks.taken) == 1

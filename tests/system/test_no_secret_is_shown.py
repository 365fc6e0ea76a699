"""Canaries: secrets in every field, name, path and header that anybody sends, and in none of what a running monitor shows.

Pages, twins and addresses come from the routes themselves, so a new one is searched without a line here.
"""

import http.client
import json
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from monitor import Monitor, await_that

from lae_monitor.net.furls.registry import Registry
from lae_monitor.net.http_operations import operations
from lae_monitor.service.control import control
from lae_monitor.web.api import api_routes
from lae_monitor.web.pages import page_routes

HERE = Path(__file__).parent
PUBLISHER = HERE.parent / "kinds" / "incidents" / "publisher.py"
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
MINIDUMP = "upload_file_minidump"
TUB = "tubtubtubtubtubtubtubtubtubtub22"  # of FURLs; no secret
FORMS = {
    "furl": ("pb://{tub}@tcp:10.0.0.7:3118/{secret}", 32),
    "hintless": ("pb://{tub}@/{secret}", 32),
    "quoted": ("pb%3A%2F%2F{tub}%40h%3A1%2F{secret}", 32),
    "nurl": ("pb://1WUX44xKjKdpGLohmFcBNuIRN-8rlv1Iij_7rQ@127.0.0.1:34399/{secret}#v=1", 32),
    "cap": ("URI:CHK:{secret}:3:10:99", 79),
    "password": ("https://operator:{secret}@tahoe.example/", 20),
    "token": ("https://tahoe.example/?api_token={secret}", 24),
    "header": ("Authorization: tahoe-lafs {secret}", 24),
}  # fmt: skip


def plant_unreadable(monitor, canaries):
    """A crash that the mover cannot read, with a secret in what is wrong: its reason is shown."""
    day = time.strftime("%Y%m%d", time.gmtime())
    crash_id = f"de1bb258-cbbf-4589-a673-34f800{day[2:]}"
    folder = monitor.state / "archive" / "crashes" / day
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "part", "w") as packed:
        document = {"uuid": crash_id, "submitted_timestamp": canaries.one("a quarantine's reason"), "metadata": {}}
        packed.writestr("raw_crash.json", json.dumps(document))
    (folder / "part").rename(folder / f"{crash_id}.zip")


class Canaries:
    """Makes secrets, no two alike, and knows each by where it was put."""

    def __init__(self):
        self.secrets: dict[str, str] = {}

    def all(self, place: str, forms=tuple(FORMS)) -> list[str]:
        return [self.one(place, form) for form in forms]

    def one(self, place: str, form: str = "furl") -> str:
        pattern, length = FORMS[form]
        number, digits = len(self.secrets), []
        for _ in range(length):
            number = (number * 1_103_515_245 + 12_345) % (1 << 31)
            digits.append(LETTERS[(number >> 16) % 32])
        secret = "".join(digits)
        if form == "cap":
            secret = f"{secret[:26]}:{secret[27:]}"
        self.secrets[secret] = f"{place} ({form})"
        return pattern.format(tub=TUB, secret=secret)

    def shown_in(self, text: str) -> set[str]:
        """Where those were put that are shown, ten letters of them at least."""
        return {
            place
            for secret, place in self.secrets.items()
            if any(secret[at : at + 10] in text for at in range(0, len(secret) - 9, 5))
        }


def form_of(fields, files):
    """A multipart form; names are put there as they are."""
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts += [(f'name="{name}"; filename="{filename}"', b"MDMP" * 50) for name, filename in files.items()]
    pieces = [f"--B\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value for head, value in parts]
    return b"\r\n".join([*pieces, b"--B--\r\n"])


def send(port, path, body, **headers):
    """What is answered, its head included."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST" if body is not None else "GET", path, body, headers)
        reply = connection.getresponse()
        return reply.status, f"{reply.getheaders()}\n{reply.read().decode(errors='replace')}"
    finally:
        connection.close()


def headers(canaries, place):
    names = ("User-Agent", "Referer", "X-Forwarded-For", "X-Request-Id", "Cookie", "Origin")
    return {name: canaries.one(f"{place}: header {name}") for name in names}


def send_crashes(monitor, canaries) -> dict[str, str]:
    port, answers = monitor.ports["crashes"], {}
    multipart = {"Content-Type": "multipart/form-data; boundary=B"}
    fields = {
        name: " ".join(canaries.all(f"crash: {name}"))
        for name in ("ProductName", "Version", "ProcessType", "ReleaseChannel", "Platform", "Comments", "MozCrashReason",
                     "AbortMessage", "JavaStackTrace", "guid", "URL", "Email", "BuildID", "AsyncShutdownTimeout", "Notes")
    }  # fmt: skip
    fields |= dict.fromkeys(canaries.all("crash: an annotation's name"), "x")
    fields["StackTraces"] = json.dumps({"reason": canaries.one("crash: JSON"), canaries.one("crash: a key of JSON"): 1})
    files = {MINIDUMP: canaries.one("crash: a file name"), canaries.one("crash: the name of a file's field"): "x"}
    simple = {"ProductName": "Lemmings", "Version": "1"}

    def post(place, path, fields, files, **more):
        given = multipart | headers(canaries, place) | more
        status, answers[place] = send(port, path, form_of(fields, files), **given)
        return status

    query = urlencode({canaries.one("query: name"): canaries.one("query: value")})
    assert post("crash", "/submit", fields, {MINIDUMP: canaries.one("crash: a file name")}) == 200
    assert post("crash with a query", f"/submit?{query}", simple, {}) == 200
    assert post("crash with files", "/submit", simple, files) == 200
    post("refused path", "/" + quote(canaries.one("crash: path"), safe=""), simple, {})
    post(
        "refused boundary",
        "/submit",
        simple,
        {},
        **{"Content-Type": f"multipart/form-data; {canaries.one('content type')}"},
    )
    post("refused encoding", "/submit", simple, {}, **{"Content-Encoding": canaries.one("content encoding")})
    post("refused form", "/submit", {}, {}, **{"Content-Type": canaries.one("crash: content type")})
    return answers


def send_samples(monitor, canaries) -> dict[str, str]:
    port, answers, text = monitor.ports["sonar"], {}, {"Content-Type": "text/csv"}
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())

    def line(**more):
        fields = {
            "v": "0.12.1",
            "time": now,
            "host": "ml1.hpc",
            "user": "u",
            "cmd": "c",
            "job": 1,
            "pid": 2,
            "cpu%": 1,
        } | more
        return ",".join(f'"{name}={value}"' for name, value in fields.items()) + "\n"

    def post(place, path, body, **more):
        status, answers[place] = send(port, path, body.encode(), **{**text, **headers(canaries, place), **more})
        return status

    good = line(user=canaries.one("sonar: user"), cmd=canaries.one("sonar: cmd"), v=canaries.one("sonar: version"))
    good += line(
        **{canaries.one("sonar: a field's name").replace("=", ""): "x"}, unknown=canaries.one("sonar: unknown field")
    )
    good += "".join(
        line(pid=number + 10, cmd=secret, user=secret) for number, secret in enumerate(canaries.all("sonar: cmd"))
    )
    assert post("sonar", "/sonar-freecsv?cluster=hpc", good) == 200
    post("bad host", "/sonar-freecsv?cluster=hpc", line(host=canaries.one("sonar: host")))
    post("bad time", "/sonar-freecsv?cluster=hpc", line(time=canaries.one("sonar: time")))
    post("bad cluster", "/sonar-freecsv?cluster=" + quote(canaries.one("sonar: cluster"), safe=""), line())
    post("bad parameters", "/sonar-freecsv?" + quote(canaries.one("sonar: query"), safe=""), line())
    post("bad type", "/sonar-freecsv?cluster=hpc", line(), **{"Content-Type": canaries.one("sonar: content type")})
    post(
        "bad password",
        "/sonar-freecsv?cluster=hpc",
        line(),
        Authorization=f"Basic {canaries.one('sonar: authorization')}",
    )
    post("no such path", "/" + quote(canaries.one("sonar: path"), safe=""), line())
    return answers


def send_incidents(monitor, canaries, folder):
    from lae_monitor.config import load
    from lae_monitor.kinds import KINDS

    furl = Registry(load(monitor.config, KINDS, {}), "incidents").register("node1").furl
    canaries.secrets[furl.swissnum.reveal()] = "the host's own FURL"
    node = subprocess.Popen(
        [sys.executable, PUBLISHER, furl.reveal(), folder / "incidents", "", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    events = [
        {"message": " ".join(canaries.all("incident: message")), "level": 30},
        {
            "format": "lost %(what)s " + canaries.one("incident: format"),
            "what": canaries.one("incident: args"),
            "level": 30,
        },
        {"message": "x", "facility": canaries.one("incident: facility"), "level": 40},
        {"message": "y", canaries.one("incident: name"): canaries.one("incident: value"), "level": 40},
        {
            "message": "z",
            "deep": {canaries.one("incident: deep name"): [canaries.one("incident: deep value")]},
            "level": 40,
        },
    ]
    for event in events:
        node.stdin.write(json.dumps(event).encode() + b"\n")
    node.stdin.flush()
    return node


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A monitor that was sent everything, the canaries, and what was answered."""
    sys.path.insert(0, str(HERE.parent / "alerts"))
    from receivers import Hooks, MailServer

    folder, canaries = tmp_path_factory.mktemp("canaries"), Canaries()
    with Hooks() as hooks, MailServer() as mails:
        extra = (
            f'[alerts]\n[[alerts.destinations]]\ntype = "webhook"\nname = "hooks"\nurl = "{hooks.url}"\n'
            f'[[alerts.destinations]]\ntype = "mail"\nto = ["ops@example.org"]\nsender = "mon@example.org"\nserver = "{mails.address}"\n'
        )
        with Monitor(folder / "m", extra=extra) as monitor:
            node = send_incidents(monitor, canaries, folder)
            plant_unreadable(monitor, canaries)
            try:
                answers = send_crashes(monitor, canaries) | send_samples(monitor, canaries)
                await_that(lambda: len(monitor.search("kind:incident")) >= 4, "incidents are found")
                await_that(lambda: len(monitor.search("kind:crash")) == 3, "crashes are found")
                await_that(lambda: monitor.search("kind:sonar"), "samples are found")
                await_that(lambda: "unreadable" in json.dumps(monitor.get("/.json")), "a file is in quarantine")
                hooks.await_alarms(2)
                mails.await_mails(1)
                yield monitor, canaries, answers, hooks, mails
            finally:
                node.kill()
                node.stdin.close()
                node.wait(60)


def addresses(monitor, canaries):
    """Every address that may be asked for with GET: one for each thing that its route may be about."""
    rows = monitor.search("since:30d")
    ids = [quote(row["id"], safe="") for row in rows]
    values = {
        "id": ids,
        "id:path": ids,
        "cluster": sorted({row["cluster"] or "-" for row in rows}),
        "host": sorted({row["host"] for row in rows}),
    }
    groups = [group["id"] for group in monitor.get("/api/groups")["groups"]]
    none = None
    routes = [*api_routes(none), *page_routes(none), *operations(none, ""), *control(none, none, none)]
    secret = quote(canaries.one("a query of ours"), safe="")
    for route in routes:
        if "GET" not in (route.methods or ()):
            continue
        if "original" in route.path:
            continue  # the bytes as they came
        places = re.findall(r"{([^}]*)}", route.path)
        assert set(places) <= set(values), f"{route.path}: say here what stands in place of its parts"
        made = [route.path]
        for place in places:
            found = groups if "/group" in route.path else values[place]
            made = [path.replace(f"{{{place}}}", value) for path in made for value in found]
        yield from made
        yield f"{made[0]}?q={secret}&host={secret}&{secret}={secret}&since={secret}"
        yield route.path.replace("{", "").replace("}", secret)
    for id_ in {row["id"] for row in rows if row["kind"] == "crash"}:
        for path in ("RawCrash", "ProcessedCrash", "CrashVerify"):
            yield f"/api/{path}/?crash_id={id_}"
    yield "/api/SuperSearch/?product=~e&_facets=product&_facets=version&_columns=signature&_columns=product&_columns=user_comments"
    yield "/search?q=since:30d"
    yield "/search.json?q=since:30d"
    yield "/api/search.csv?q=since:30d"


def test_no_page_twin_export_or_metric_shows_one(shown):
    monitor, canaries, answers, *_ = shown
    found = {}
    for address in sorted(set(addresses(monitor, canaries))):
        _, text = send(monitor.ports["web"], address, None)
        if places := canaries.shown_in(text):
            found[address] = places
    for part in ("crashes", "sonar"):
        for address in ("/metrics", "/__heartbeat__", "/" + quote(canaries.one("our path"), safe="")):
            if places := canaries.shown_in(send(monitor.ports[part], address, None)[1]):
                found[f"{part} {address}"] = places
    found |= {f"answer to {place}": places for place, text in answers.items() if (places := canaries.shown_in(text))}
    assert not found, json.dumps({str(name): sorted(places) for name, places in found.items()}, indent=1)


def test_no_mail_webhook_journal_or_log_shows_one(shown):
    monitor, canaries, _, hooks, mails = shown
    journal = "".join(path.read_text() for path in monitor.state.glob("archive/journal/**/*.jsonl"))
    assert '"refused"' in journal
    said = {
        "webhook": json.dumps(hooks.got) + json.dumps(hooks.headers),
        "mail": "".join(str(mail) + mail.get_content() for _, mail in mails.got),
        "journal": journal,
        "log": monitor.log.decode(errors="replace"),
    }
    assert {where: canaries.shown_in(text) for where, text in said.items() if canaries.shown_in(text)} == {}


def test_no_command_shows_one(shown):
    monitor, canaries, *_ = shown
    rows = monitor.search("kind:crash") + monitor.search("kind:incident")
    newest = {row["kind"]: row["id"] for row in rows}
    secret = canaries.one("a command's own argument")
    commands = [
        ("search", "since:30d"),
        ("search", f"host:{secret}"),
        ("--json", "search", "since:30d"),
        ("host", "list"),
        ("host", "show", "127.0.0.1"),
        ("group", "list"),
        ("alert", "list"),
        ("store", "status"),
        *(("report", "show", id_) for id_ in newest.values()),
    ]
    found = {}
    for command in commands:
        said = monitor.cli(*command, code=None)
        if places := canaries.shown_in(said):
            found[command] = places
    assert not found, json.dumps({str(name): sorted(places) for name, places in found.items()}, indent=1)

"""Clients that POST crashes, each as the real one does; see docs/crashes.md.

The storage servers' reports come from a Crashpad handler: gzip, chunked, without Content-Length, annotations as fields.
The browser's come from curl, which Firefox's crash reporter calls, too. Where this machine has none, a client like it sends
them: Content-Length, annotations as one JSON object named `extra`.
"""

import asyncio
import gzip
import hashlib
import json
import os
import random
import shutil
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from lae_monitor.demo import posts
from lae_monitor.demo.hosts import Host
from lae_monitor.demo.part import Part, by_chance, of_story
from lae_monitor.demo.posts import Answer, Post
from lae_monitor.demo.story import CRASHES_AT, Happening, Story
from lae_monitor.kinds.crashes.form import minidump

CRASHPAD: Final = "Crashpad/0.8.0 libcurl/7.88.1 GnuTLS/3.7.9 Linux/6.1.0 (x86_64)"
REPORTER: Final = "crashreporter/153.7.0 (linux x86_64)"

SERVER: Final = ("Gridstore", "2.4.1")
BROWSER: Final = ("Gridbrowser", "153.0.7")
PROGRAMS: Final = {"Gridstore": "gridstored", "Gridbrowser": "gridbrowser"}  # the file of each product that crashes
SERVER_REASONS: Final = ("assertion failed: lease.renewed <= now", "share file shorter than its header says")
BROWSER_REASONS: Final = (
    "index out of bounds: the len is 0 but the index is 0",
    "Shutdown hanging at step AppShutdownConfirmed",
    "MOZ_RELEASE_ASSERT(mState == State::Open)",
)


CURL: Final = shutil.which("curl") or ""
# -q: whatever the user's own .curlrc says is not meant for this.
CURL_OPTIONS: Final = (
    "-q", "--silent", "--noproxy", "*", "--max-time", "30", "--retry", "11", "--retry-connrefused",
    "--write-out", "\n%{http_code}", "--user-agent", REPORTER,
)  # fmt: skip


CHANCE: Final = {"storage": 0.02, "gateway": 0.12}  # within a slot, by what the host does


class Crashes(Part):
    what = "crash"
    called = "crashes"
    port = 8000
    to_try = (
        ("search 'kind:crash since:1d'", "every crash of the last day, newest first"),
        ("crashes submit", "send a crash of your own: it shows on the host localhost"),
    )

    @staticmethod
    def address(section: Any) -> str:
        return f"http://{section.listen}/submit"

    @classmethod
    def entrance(cls, section: Any) -> str:
        return f"POST {cls.address(section)}; the browser's come by {client()}"

    @classmethod
    def happenings(cls, story: Story, start: float, end: float) -> Iterator[Happening]:
        yield from of_story(cls.what, CRASHES_AT, story, start, end)
        yield from by_chance(cls.what, _chance, story, start, end)

    async def tell(self, happening: Happening) -> Answer | None:
        return await send(self.story, happening, str(self.settings.gatherers["crashes"].listen))


def _chance(host: Host, _time: float) -> float:
    return CHANCE[host.work]


class Field(NamedTuple):
    """One part of a form."""

    name: str
    data: bytes
    filename: str = ""
    media: str = ""


def client() -> str:
    """What the browser's crashes are sent by."""
    return CURL or "a client of the demo's own"


async def send(story: Story, happening: Happening, address: str) -> Answer | None:
    """Reports the crash that `happening` is, to the collector at `address`; None when there was no answer."""
    if happening.host.work == "gateway" and CURL:
        return await _by_curl(_browser_fields(happening), address, happening.host.address)
    return await posts.send(post(story, happening, address))


async def _by_curl(fields: list[Field], address: str, source: str) -> Answer | None:
    """`fields` as Firefox's crash reporter has curl send them: each a file of its own, which curl reads from us."""
    opened = [_in_memory(field) for field in fields]
    forms = [
        f"{field.name}=@/dev/fd/{fd};filename={field.filename};type={field.media}"
        for field, fd in zip(fields, opened, strict=True)
    ]
    options = [*CURL_OPTIONS, *(["--interface", source] if source else [])]
    options += [word for form in forms for word in ("--form", form)]
    try:
        sending = await asyncio.create_subprocess_exec(
            CURL, *options, f"http://{address}/submit", pass_fds=opened,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await sending.communicate()
    finally:
        for fd in opened:
            os.close(fd)
    text, _, status = said.decode("utf-8", "replace").rpartition("\n")
    return Answer(int(status), text) if sending.returncode == 0 else None


def _in_memory(field: Field) -> int:
    """A file that holds what `field` has to say."""
    fd = os.memfd_create(field.name)
    os.write(fd, field.data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def post(story: Story, happening: Happening, address: str) -> Post:
    """The request that reports the crash that `happening` is, to the collector at `address`."""
    if happening.host.work == "gateway":
        return _from_browser(happening, address)
    return _from_server(story, happening, address)


def _from_server(story: Story, happening: Happening, address: str) -> Post:
    dice, host, time = happening.dice, happening.host, happening.time
    product, version = SERVER
    guid = str(uuid.UUID(int=story.dice("guid", host.name).getrandbits(128), version=4))
    if happening.told:
        size = dice.choice((64, 128, 256)) << 20
        why = f"out of memory: could not allocate {size} bytes, {story.server_gib(time - 1):.1f} GiB in use"
    else:
        why = dice.choice(SERVER_REASONS)
    annotations = {
        "ProductName": product,
        "Version": version,
        "prod": product,
        "ver": version,
        "guid": guid,
        "CrashTime": str(int(time)),
        "MozCrashReason": why,
        "ptype": "server",
        "resident_kib": str(int(story.server_gib(time - 1) * 1024 * 1024)) if happening.told else "786432",
    }
    boundary = f"---MultipartBoundary-{_letters(dice, 32)}---"
    fields = [Field(name, value.encode()) for name, value in sorted(annotations.items())]
    fields.append(_dump(happening, f"/usr/sbin/{PROGRAMS[product]}"))
    return Post(
        address=address,
        target="/submit?" + urlencode({"product": product, "version": version, "guid": guid}),
        headers={
            "User-Agent": CRASHPAD,
            "Accept": "*/*",
            "Content-Encoding": "gzip",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        },
        body=gzip.compress(form(fields, boundary), mtime=0),
        chunked=True,
        source=host.address,
    )


def _browser_fields(happening: Happening) -> list[Field]:
    dice, time = happening.dice, happening.time
    product, version = BROWSER
    dump = _dump(happening, f"/usr/lib/{PROGRAMS[product]}/{PROGRAMS[product]}")
    extra = {
        "ProductName": product,
        "Version": version,
        "BuildID": "20261019142203",
        "ReleaseChannel": "release",
        "CrashTime": str(int(time)),
        "SecondsSinceLastCrash": str(dice.randrange(600, 90_000)),
        "UptimeTS": f"{dice.uniform(3, 20_000):.3f}",
        "MozCrashReason": dice.choice(BROWSER_REASONS),
        "MinidumpSha256Hash": hashlib.sha256(dump.data).hexdigest(),
        "SubmittedFrom": "Client",
        "Throttleable": "1",
    }
    return [Field("extra", json.dumps(extra).encode(), "extra.json", "application/json"), dump]


def _from_browser(happening: Happening, address: str) -> Post:
    fields = _browser_fields(happening)
    boundary = "-" * 24 + _letters(happening.dice, 16)
    return Post(
        address=address,
        target="/submit",
        headers={"User-Agent": REPORTER, "Content-Type": f"multipart/form-data; boundary={boundary}"},
        body=form(fields, boundary),
        source=happening.host.address,
    )


def _dump(happening: Happening, program: str) -> Field:
    data = minidump(happening.time, happening.dice.randrange(1000, 30_000), program)
    return Field("upload_file_minidump", data, "minidump.dmp", "application/octet-stream")


def form(fields: list[Field], boundary: str) -> bytes:
    """`fields` as multipart/form-data."""
    pieces = []
    for field in fields:
        disposition = f'Content-Disposition: form-data; name="{field.name}"'
        if field.filename:
            disposition += f'; filename="{field.filename}"'
        head = [f"--{boundary}", disposition, *([f"Content-Type: {field.media}"] if field.media else [])]
        pieces += ["\r\n".join(head).encode(), b"\r\n\r\n", field.data, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def _letters(dice: random.Random, number: int) -> str:
    return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(number))

"""Whatever host, cluster or time a post claims, nothing is written outside its place, and what is refused has a code."""

import asyncio
import os
import random
import re
import secrets
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lae_monitor.archive import Archive, Reserve
from lae_monitor.core.names import ClusterName
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.sonar.free_csv import Post
from lae_monitor.kinds.sonar.read import read
from lae_monitor.kinds.sonar.rows import Sample

NOW = 1795341085.0
PLACE = re.compile(r"sonar/[A-Za-z0-9][A-Za-z0-9._-]*/[0-9]{4}/[0-9]{2}/[0-9]{2}/[A-Za-z0-9][A-Za-z0-9._-]*\.csv")

PIECES = (
    "..", "/", "\\", ".", "\0", "~", "-", "%2e", "h", "evil", "\r", "\u2024", "\uff0f", "C:", " ", "\u0661", "bughunt",
    "slurm-sacct", "$(id)", "`", "'", ";", "|", "*", "sonar", ".tmp", "a" * 199, "é", "\u202e", "0+sample-", "\ud800", ",", '"',
    "2026-11-22T09:51:25Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-W47-7",
)  # fmt: skip
PLAIN = ("..", ".", "-", "evil", "sonar", ".tmp", "_", "0", ".1795341085000000000", "/", "a" * 66)


class Hostile(NamedTuple):
    cluster: str
    host: str
    time: str
    quoted: bool


def hostile(data: bytes) -> Hostile:
    """A byte a piece, the first one says how many go where: hypothesis draws bytes much faster than lists of pieces."""
    plan, pieces = data[0], [PIECES[byte % len(PIECES)] for byte in data[1:]]
    clusters, times = plan & 3, plan >> 2 & 3
    return Hostile(
        cluster="".join(pieces[:clusters]) or "c",
        time="".join(pieces[clusters : clusters + times]) or "2026-11-22T09:51:25Z",
        host="".join(pieces[clusters + times :]),
        quoted=bool(plan & 16),
    )


def possible(data: bytes) -> Hostile:
    """Names that are strange and may be accepted."""
    middle = len(data) // 2
    cluster, host = (
        "h" + "".join(PLAIN[byte % len(PLAIN)] for byte in half) for half in (data[:middle], data[middle:])
    )
    return Hostile(cluster, host, "2026-11-22T09:51:25Z", quoted=False)


HOSTILE = st.binary(min_size=1, max_size=12).map(hostile)
POSSIBLE = st.binary(max_size=8).map(possible)


def bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def files_of(names: Hostile) -> dict[str, bytes]:
    """What the post would write; nothing when it is refused by a code."""
    field = b"host=" + bytes_of(names.host)
    if names.quoted:
        field = b'"' + field.replace(b'"', b'""') + b'"'
    try:
        post = Post(b"v=1," + field + b",time=" + bytes_of(names.time) + b",cmd=c\n", ClusterName(names.cluster), NOW)
        for _ in post.check():
            pass
    except Refused as refused:
        return {} if refused.code in REASONS else {refused.code: b""}
    return post.files()


@given(HOSTILE | POSSIBLE)
@settings(suppress_health_check=list(HealthCheck))
def test_a_hostile_post_names_a_file_in_its_place_or_is_refused_by_a_code(names):
    for path in files_of(names):
        assert PLACE.fullmatch(path)
        assert ".." not in path.split("/")
        assert os.path.normpath(path) == path


def test_hostile_posts_leave_the_world_around_the_root_as_it_was(tmp_path):
    """The names of the property above, through a real archive: whatever is accepted lies below sonar/."""
    root = tmp_path / "outer" / "archive"
    kept: list[tuple[str, bytes]] = []

    @given(POSSIBLE)
    @settings(max_examples=400, suppress_health_check=list(HealthCheck), database=None)
    def collect(names):
        kept.extend(files_of(names).items())

    collect()
    assert len(kept) > 20

    async def main():
        archive = await Archive([root], "gather-sonar", reserve=Reserve(size=0)).open()
        try:
            for path, data in kept:
                await archive.append(path, data)
        finally:
            await archive.close()

    asyncio.run(main())
    assert [entry.name for entry in (tmp_path / "outer").iterdir()] == ["archive"]
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {path for path in files if not path.startswith(".tmp/")} == {path for path, _ in kept}


def test_hostile_posts_over_http_are_refused_and_write_nothing(tmp_path, gathering, line, now):
    good = line(1)

    async def main():
        async with gathering(tmp_path / "state", clock=now) as gatherer:
            before = _files_outside(tmp_path, gatherer.root / "sonar")
            for name in ("../evil", "..", ".hidden", "a/b", "/etc/passwd", "a\\b", "-x", "é", "a" * 201, "a\0b", ""):
                body = good + good.replace(b"host=h,", b"host=" + name.encode() + b",")
                answer = await gatherer.post(body)
                assert (answer.status, answer.body) == (400, "Bad content")
                assert answer.headers["x-refused"] in {"bad_host_name", "sonar_bad_content"}
                answer = await gatherer.post(good, query=f"cluster={quote(name)}")
                assert (answer.status, answer.body) == (400, "Bad parameters")
                assert answer.headers["x-refused"] == "bad_cluster_name"
            assert gatherer.files() == {}
            await gatherer.end()
            assert _files_outside(tmp_path, gatherer.root / "sonar") == before

    asyncio.run(main())


def _files_outside(top: Path, inner: Path) -> set[Path]:
    return {
        path
        for path in top.rglob("*")
        if path.is_file()
        and not path.is_relative_to(inner)
        and "journal" not in path.parts
        and ".tmp" not in path.parts
    }


ODD = [
    "node1",
    "Node1",
    "node1 ",
    " node1",
    "node1\t",
    "node1\u200b",
    "n\u00f6de1",
    "node1\r",
    '"node1"',
    "",
    "node1.csv",
]
SEED = secrets.randbelow(2**32)


def test_a_line_is_shown_as_of_the_host_and_cluster_by_which_it_was_accepted():
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    accepted = 0
    for _ in range(600):
        fields = ["v=0.13.0", "time=2026-11-22T09:00:00+00:00", "user=u", "cmd=c", f"host={chance.choice(ODD)}"]
        fields += [f"{chance.choice(['host', 'Host', 'host ', ' host'])}={chance.choice(ODD)}"] * chance.randrange(2)
        chance.shuffle(fields)
        quoted = [f'"{field.replace(chr(34), chr(34) * 2)}"' if chance.random() < 0.3 else field for field in fields]
        post = Post(",".join(quoted).encode() + chance.choice([b"", b"\n", b"\r\n"]), ClusterName("c1"), NOW)
        try:
            list(post.check())
        except Refused:
            continue
        for path, data in post.files().items():
            rows = [row for row in read(Span(path, 0, len(data)), data) if isinstance(row, Sample)]
            assert {f"sonar/{row.cluster}/2026/11/22/{row.host}.csv" for row in rows} == {path}
            accepted += 1
    assert accepted > 50

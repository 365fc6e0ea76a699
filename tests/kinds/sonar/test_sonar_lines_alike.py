"""A line that begins as the one before is not taken apart; it goes, or is refused, as if it had been."""

import random

from lae_monitor.core.names import ClusterName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.sonar.free_csv import Post

NOW = parse_time("2026-11-30T12:00:00Z")
BEGINNINGS = (
    "v=0.12.0,time=2026-11-30T10:00:00+01:00,host=ml6,", "v=0.12.0,host=ml6,time=2026-11-30T23:59:00Z,", "host=ml7,time=2026-11-29T00:00:01Z,",
    "v=1,time=2026-11-30T10:00:00+01:00,", "host=ml6,", "",
)  # fmt: skip
FIELDS = (
    "user=a", "cmd=x y", "cpu%=1.5", "cputime_sec=7", "=", "a=b=c", "", "none", '"cmd=x,y"', 'a"b=1', "host=ml8", "time=2026-11-28T00:00:00Z",
    "time=", "größe=1", "\udcff=1", "x=\r", "\r",
)  # fmt: skip


class TakenApart(Post):
    def _begins_alike(self, start, end):
        return False

    def _take_all_alike(self):
        pass


def outcome(kind, body):
    post = kind(body, ClusterName("c1"), NOW)
    try:
        for _ in post.check():
            pass
    except Refused as refused:
        return refused.code, refused.detail
    return post.files(), post.lines


def test_lines_that_begin_alike_go_where_they_would_go_alone():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    accepted = 0
    for _ in range(4_000):
        beginnings = chance.choices(BEGINNINGS[:3], k=chance.randint(1, 2)) if chance.random() < 0.8 else BEGINNINGS
        plain = FIELDS[:6] if chance.random() < 0.6 else FIELDS
        lines = [
            chance.choice(beginnings) + ",".join(chance.choices(plain, k=chance.randint(1, 4)))
            for _ in range(chance.randint(1, 6))
        ]
        end = chance.choice(["\n", "\n", "\r\n", "\n\n"])
        body = (end.join(lines) + chance.choice(["", end])).encode("utf-8", "surrogateescape")
        wanted = outcome(TakenApart, body)
        assert outcome(Post, body) == wanted, body
        accepted += isinstance(wanted[1], int)
    assert 500 < accepted < 3_900

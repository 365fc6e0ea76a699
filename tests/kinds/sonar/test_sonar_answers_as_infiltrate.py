"""Nodes that send to infiltrate with plain curl get the same answers here, except where those lost data."""

import asyncio
from pathlib import Path

import pytest

CSV = ("--data-binary", "@-", "-H", "Content-Type: text/csv")
USER = ("--user", "c:pw")


def netrc(folder: Path, password: str = "pw") -> tuple[str, str]:
    path = folder / "netrc"
    path.write_text(f"machine 127.0.0.1 login c password {password}\n")
    return "--netrc-file", str(path)


def test_a_post_as_production_nodes_send_it_is_stored_as_it_came(tmp_path, gathering, line, now):
    body = line(1) + line(2).rstrip(b"\n")

    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            retry = ("--retry", "11", "--retry-connrefused")
            answer = await gatherer.curl(*CSV, *netrc(tmp_path), *retry, body=body)
            assert (answer.status, answer.body) == (200, "")
            assert gatherer.files() == {"c/2026/11/22/h.csv": body + b"\n"}
            answer = await gatherer.curl(*CSV, *netrc(tmp_path), body=line(3))
            assert answer.status == 200
            assert gatherer.files() == {"c/2026/11/22/h.csv": body + b"\n" + line(3)}

    asyncio.run(main())


@pytest.mark.parametrize(
    "extra",
    [
        ("-H", "Transfer-Encoding: chunked"),
        ("-H", "Content-Type: text/csv; charset=utf-8"),
        ("--http1.0",),
        ("-H", "Expect: 100-continue"),
    ],
    ids=["chunked", "charset", "http-1.0", "expect"],
)
def test_every_way_to_send_the_same_bytes_is_taken(tmp_path, gathering, line, now, extra):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            kind = () if "charset" in extra[-1] else ("-H", "Content-Type: text/csv")
            answer = await gatherer.curl("--data-binary", "@-", *kind, *USER, *extra, body=line(1))
            assert (answer.status, answer.body) == (200, "")
            assert gatherer.files() == {"c/2026/11/22/h.csv": line(1)}

    asyncio.run(main())


REFUSALS = [
    # what, curl's options, query, body, status, words, code
    ("get", USER, "cluster=c", None, 403, "Bad method", "sonar_bad_method"),
    ("put", ("-X", "PUT", *CSV, *USER), "cluster=c", b"", 403, "Bad method", "sonar_bad_method"),
    ("json", ("--data-binary", "@-", "-H", "Content-Type: application/json"), "cluster=c", b"", 400, "Bad content-type",
     "bad_content_type"),
    ("no-type", ("--data-binary", "@-", "-H", "Content-Type:"), "cluster=c", b"", 400, "Bad content-type", "bad_content_type"),
    ("gzip", (*CSV, "-H", "Content-Encoding: gzip", *USER), "cluster=c", b"", 400, "Bad content-type", "bad_content_type"),
    ("anonymous", CSV, "cluster=c", b"", 401, "Unauthorized", "unauthorized"),
    ("password", (*CSV, "--user", "c:PW"), "cluster=c", b"", 401, "Unauthorized", "unauthorized"),
    ("user", (*CSV, "--user", "d:pw"), "cluster=c", b"", 401, "Unauthorized", "unauthorized"),
    ("bearer", (*CSV, "-H", "Authorization: Bearer pw"), "cluster=c", b"", 401, "Unauthorized", "unauthorized"),
    ("not-base64", (*CSV, "-H", "Authorization: Basic ?"), "cluster=c", b"", 401, "Unauthorized", "unauthorized"),
    ("twice", (*CSV, *USER, "-H", "Authorization: Basic YzpwdzI="), "cluster=c", b"", 401, "Unauthorized", "unauthorized"),
    ("no-cluster", (*CSV, *USER), "", b"", 400, "Bad parameters", "bad_parameters"),
    ("clusters", (*CSV, *USER), "cluster=c&cluster=c", b"", 400, "Bad parameters", "bad_parameters"),
    ("other-cluster", (*CSV, *USER), "cluster=d", b"GOOD", 401, "Unauthorized", "sonar_wrong_cluster"),
    ("bad-cluster", (*CSV, *USER), "cluster=../d", b"GOOD", 400, "Bad parameters", "bad_cluster_name"),
    ("quotes", (*CSV, *USER), "cluster=c", b'GOODhost="h",time=x\n', 400, "Bad content", "sonar_bad_content"),
    ("bare", (*CSV, *USER), "cluster=c", b"GOODhost=h,oops\n", 400, "Bad content", "sonar_bad_content"),
    ("no-host", (*CSV, *USER), "cluster=c", b"GOODtime=2026-11-22T09:51:25Z,host=\n", 400, "Bad content", "sonar_bad_content"),
    ("no-time", (*CSV, *USER), "cluster=c", b"GOODhost=h,v=1\n", 400, "Bad content", "sonar_bad_content"),
    ("time", (*CSV, *USER), "cluster=c", b"GOODhost=h,time=yesterday\n", 400, "Bad content", "bad_time"),
    ("old", (*CSV, *USER), "cluster=c", b"GOODhost=h,time=0001-01-01T00:00:00Z\n", 400, "Bad content", "time_out_of_range"),
    ("ahead", (*CSV, *USER), "cluster=c", b"GOODhost=h,time=2026-11-23T09:51:26Z\n", 400, "Bad content", "time_out_of_range"),
    ("host", (*CSV, *USER), "cluster=c", b"GOODhost=../../../evil,time=2026-11-22T09:51:25Z\n", 400, "Bad content",
     "bad_host_name"),
    ("reserved", (*CSV, *USER), "cluster=c", b"GOODhost=slurm-sacct,time=2026-11-22T09:51:25Z\n", 400, "Bad content",
     "bad_host_name"),
    ("long", (*CSV, *USER), "cluster=c", b"GOODhost=h,time=2026-11-22T09:51:25Z,a=" + b"a" * 65536 + b"\n", 400, "Bad content",
     "sonar_line_too_long"),
    ("large", (*CSV, *USER), "cluster=c", b"x" * 1_000_001, 413,
     "the body is larger than the limit; do not send it again", "body_too_large"),
    ("large-chunked", (*CSV, *USER, "-H", "Transfer-Encoding: chunked"), "cluster=c", b"x" * 1_000_001, 413,
     "the body is larger than the limit; do not send it again", "body_too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "query", "body", "status", "text", "code"), [r[1:] for r in REFUSALS],
                         ids=[r[0] for r in REFUSALS])  # fmt: skip
def test_refusals_use_the_words_of_infiltrate_and_store_nothing(
    tmp_path, gathering, line, now, options, query, body, status, text, code
):
    async def main():
        async with gathering(tmp_path, clock=now, max_body=1_000_000) as gatherer:
            sent = (body or b"").replace(b"GOOD", line(1))
            answer = await gatherer.curl(*options, path=f"/sonar-freecsv?{query}".rstrip("?"), body=sent)
            assert (answer.status, answer.body, answer.headers["x-refused"]) == (status, text, code)
            assert "www-authenticate" not in answer.headers
            assert gatherer.files() == {}
            await gatherer.end()
            (receipt,) = gatherer.receipts()
            assert (receipt["verdict"], receipt["reason"], receipt["kind"]) == ("refused", code, "sonar")
            assert receipt["peer"] == "127.0.0.1"

    asyncio.run(main())


def test_blank_lines_are_no_reason_to_refuse(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            body = b"\n" + line(1) + b"  \r\n\n" + line(2)[:-1] + b"\r\n" + line(3) + b"\n"
            assert (await gatherer.post(body)).status == 200
            assert gatherer.files() == {"c/2026/11/22/h.csv": line(1) + line(2)[:-1] + b"\r\n" + line(3)}
            assert [sample.cmd for sample in gatherer.samples()] == ["c1", "c2", "c3"]
            assert (await gatherer.post(b"")).status == 200
            assert (await gatherer.post(b"\n")).status == 200

    asyncio.run(main())


def test_each_line_goes_to_the_file_of_its_host_and_its_utc_day(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            early = line(1, host="h", time="2026-11-22T00:59:59+01:00")
            other = line(2, host="ml6.hpc.uio.no", time="2026-11-22T01:00:00+01:00")
            late = line(3, host="h", time="2026-11-22T01:00:00+01:00")
            assert (await gatherer.post(early + other + late + other)).status == 200
            assert gatherer.files() == {
                "c/2026/11/21/h.csv": early,
                "c/2026/11/22/h.csv": late,
                "c/2026/11/22/ml6.hpc.uio.no.csv": other + other,
            }

    asyncio.run(main())


def test_a_post_for_too_many_files_is_refused_whole(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            hosts = [line(1, host=f"h{number}") for number in range(257)]
            assert (await gatherer.post(b"".join(hosts))).headers["x-refused"] == "sonar_too_many_files"
            assert gatherer.files() == {}
            assert (await gatherer.post(b"".join(hosts[:256]))).status == 200
            assert len(gatherer.files()) == 256

    asyncio.run(main())


def test_the_health_addresses_are_there_without_a_password(tmp_path, gathering):
    async def main():
        async with gathering(tmp_path) as gatherer:
            assert (await gatherer.curl(path="/ping")).status == 200
            assert (await gatherer.curl(path="/__heartbeat__")).status == 200
            assert "lae_sonar_posts_total" in (await gatherer.curl(path="/metrics")).body
            unknown = await gatherer.curl(path="/elsewhere")
            assert (unknown.status, unknown.body) == (404, "404 page not found")

    asyncio.run(main())


def test_without_a_password_file_anybody_may_send_and_a_password_is_a_mistake(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, passwords=None, clock=now) as gatherer:
            assert (await gatherer.post(line(1), password=None, cluster="any.cluster")).status == 200
            assert (await gatherer.post(line(1))).status == 401
            assert list(gatherer.files()) == ["any.cluster/2026/11/22/h.csv"]

    asyncio.run(main())


def test_one_user_may_send_for_all_clusters_where_that_is_configured(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, passwords="all/pw", clock=now, match_user_and_cluster=False) as gatherer:
            answer = await gatherer.curl(*CSV, "--user", "all:pw", body=line(1), path="/sonar-freecsv?cluster=mlx")
            assert answer.status == 200
            assert list(gatherer.files()) == ["mlx/2026/11/22/h.csv"]

    asyncio.run(main())

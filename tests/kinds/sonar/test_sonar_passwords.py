"""The password file decides who may send; it is read anew when it changes, and never ignored."""

import asyncio
import base64
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.config import ConfigError
from lae_monitor.core.refusals import Refused
from lae_monitor.net import passwords as auth
from lae_monitor.net.passwords import CredentialsError, Passwords, hash_password, parse_basic, parse_passwords


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def passwords_in(tmp_path, text: str) -> Passwords:
    path = tmp_path / "passwords"
    path.write_text(text)
    return Passwords(path)


def is_let_in(passwords: Passwords, user: str, password: str) -> bool:
    try:
        return passwords.user_of(basic(user, password)) == user
    except Refused as refused:
        if refused.code != "unauthorized":
            raise
        return False


def test_every_form_of_line_lets_its_user_in(tmp_path):
    salt = "00ff"
    digest = hashlib.sha256(bytes.fromhex(salt) + b"hidden").hexdigest()
    text = f"""
# rotated every year
mlx.hpc.uio.no:one
  mlx.hpc.uio.no:two:with/both

fox:sha256${salt}${digest}
saga:{hash_password("päss")}
old/pa:ss
"""
    passwords = passwords_in(tmp_path, text)
    for user, password in (("mlx.hpc.uio.no", "one"), ("mlx.hpc.uio.no", "two:with/both"), ("fox", "hidden"),
                           ("saga", "päss"), ("old", "pa:ss")):  # fmt: skip
        assert is_let_in(passwords, user, password)
    for user, password in (("mlx.hpc.uio.no", "two"), ("mlx.hpc.uio.no", ""), ("fox", digest), ("fox", "one"),
                           ("fox", f"sha256${salt}${digest}"), ("nobody", "one"), ("", "")):  # fmt: skip
        assert not is_let_in(passwords, user, password)
    assert passwords.users == ["fox", "mlx.hpc.uio.no", "old", "saga"]


@pytest.mark.parametrize("text", ["", "\n# nobody\n", "c:pw\nnonsense\n", ":pw", "c:", "c:sha256$zz$00", "c:sha256$0f$0f",
                                  "c:sha256$fff$" + "0" * 64])  # fmt: skip
def test_a_file_that_is_none_is_said_and_its_words_are_not(text):
    with pytest.raises(CredentialsError) as error:
        parse_passwords(text, "the/file")
    assert "the/file" in str(error.value)
    assert "nonsense" not in str(error.value)
    assert "pw" not in str(error.value)


@given(st.text(max_size=60))
def test_any_authorization_header_is_understood_or_unauthorized(header):
    for text in (header, f"Basic {header}", "Basic " + base64.b64encode(header.encode("utf-8", "replace")).decode()):
        try:
            user, password = parse_basic(text)
        except Refused as refused:
            if (refused.code, refused.detail) != ("unauthorized", ""):
                raise
        else:
            assert isinstance(user, str)
            assert isinstance(password, bytes)


def test_a_changed_file_counts_at_once_however_it_was_changed(tmp_path):
    passwords = passwords_in(tmp_path, "c:aaaa\n")
    passwords._clock = lambda: passwords.path.stat().st_ctime + 10.0  # so long ago that its times can be relied on
    assert is_let_in(passwords, "c", "aaaa")
    passwords.path.write_text("c:bbbbb\n")
    assert is_let_in(passwords, "c", "bbbbb")
    assert not is_let_in(passwords, "c", "aaaa")
    other = tmp_path / "other"
    other.write_text("c:ccccc\n")
    os.utime(other, (1, 1))
    other.replace(passwords.path)
    assert is_let_in(passwords, "c", "ccccc")
    assert not is_let_in(passwords, "c", "bbbbb")


def test_a_second_change_within_one_tick_of_the_clock_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(auth, "_signature", lambda status: (status.st_size,))  # all that differs within a tick
    passwords = passwords_in(tmp_path, "c:aaaa\n")
    passwords._clock = lambda: passwords.path.stat().st_ctime
    assert is_let_in(passwords, "c", "aaaa")
    passwords.path.write_text("c:bbbb\n")
    assert is_let_in(passwords, "c", "bbbb")
    assert not is_let_in(passwords, "c", "aaaa")


def test_an_unchanged_file_is_not_read_again(tmp_path):
    passwords = passwords_in(tmp_path, "c:aaaa\n")
    reads = []
    passwords._clock = lambda: passwords.path.stat().st_mtime + 10.0
    read = passwords._read
    passwords._read = lambda status: (reads.append(1), read(status))[1]
    assert all(is_let_in(passwords, "c", "aaaa") for _ in range(5))
    assert len(reads) == 1


def test_a_file_that_vanishes_or_breaks_lets_nobody_in_until_it_is_mended(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            path = tmp_path / "credentials" / "sonar" / "exfil-auth.txt"
            assert (await gatherer.post(line(1))).status == 200
            for damage in (path.unlink, path.mkdir):
                damage()
                answer = await gatherer.post(line(2))
                assert (answer.status, answer.headers["x-refused"]) == (503, "credentials_unreadable")
                assert int(answer.headers["retry-after"]) > 0
            path.rmdir()
            path.write_bytes(b"c:\xff\n")
            assert (await gatherer.post(line(2))).status == 503
            path.write_text("c:pw\nbroken\n")
            assert (await gatherer.post(line(2))).status == 503
            path.write_text("c:pw\nc:next\n")
            assert (await gatherer.post(line(2))).status == 200
            assert (await gatherer.post(line(3), password="next")).status == 200
            assert [sample.cmd for sample in gatherer.samples()] == ["c1", "c2", "c3"]

    asyncio.run(main())


def test_requests_in_progress_are_not_dropped_when_passwords_are_rotated(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            path = tmp_path / "credentials" / "sonar" / "exfil-auth.txt"

            async def send(number):
                return (await gatherer.post(line(number), password="old" if number % 2 else "pw")).status

            path.write_text("c:pw\nc:old\n")
            posts = []
            for number in range(60):
                posts.append(asyncio.create_task(send(number)))
                if number % 10 == 0:
                    new = path.with_name("new")
                    new.write_text(f"c:pw\nc:old\nother:{number}\n")
                    new.replace(path)
                await asyncio.sleep(0)
            assert set(await asyncio.gather(*posts)) == {200}

    asyncio.run(main())


def test_without_the_file_it_does_not_start_and_says_what_to_do(tmp_path, gathering):
    async def main():
        async with gathering(tmp_path, passwords=None, auth_file="exfil-auth.txt"):
            pass

    with pytest.raises(ConfigError) as error:
        asyncio.run(main())
    (problem,) = error.value.problems
    assert str(tmp_path / "credentials" / "sonar" / "exfil-auth.txt") in problem
    assert "write lines of the form CLUSTER:PASSWORD" in problem


def test_passwords_show_nowhere(tmp_path, gathering, line, now, caplog, capfd):
    async def main():
        async with gathering(tmp_path, clock=now, passwords="c:geheim\n") as gatherer:
            await gatherer.post(line(1), password="geheim")
            await gatherer.post(line(1), password="geheimer")
            await gatherer.post(b"x", password="geheim")
            await gatherer.end()
            journal = b"".join(path.read_bytes() for path in gatherer.root.glob("journal/**/*.jsonl")).decode()
            assert gatherer.receipts()
            token = basic("c", "geheim").split()[1].rstrip("=")[:10]
            out, err = capfd.readouterr()
            for text in (journal, caplog.text, out, err):
                assert "geheim" not in text
                assert token not in text

    caplog.set_level(0)
    asyncio.run(main())
    assert "geheim" not in repr(parse_passwords("c:geheim", "f"))

"""A gatherer that is handed an identity by systemd is the tub that older FURLs name; it never takes another one silently."""

import os
import re
import stat
import subprocess
import sys

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.net.tubs.identity import CERTIFICATE, HANDED, adopt, identity, tub_id

IDENTITY = "incidents-gatherer.pem"  # as roles name the credential
EX_UNAVAILABLE = 69
LAE_MONITOR = [sys.executable, "-m", "lae_monitor"]


def parts(pem: bytes) -> tuple[bytes, bytes]:
    """Certificate and private key."""
    return tuple(re.search(b"-----BEGIN (?:[A-Z]+ )?%s-----.+?-----END [A-Z ]+-----\n" % what, pem, re.DOTALL)[0]
                 for what in (b"CERTIFICATE", b"PRIVATE KEY"))  # fmt: skip


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """Two identities."""
    folder = tmp_path_factory.mktemp("pems")
    return [identity(folder / name).pem for name in ("one", "other")]


@pytest.fixture
def handed(tmp_path):
    folder = tmp_path / "handed"
    folder.mkdir()
    return folder


@pytest.fixture
def gather(gatherer, handed):
    """Starts the real command with what is in `handed`, as systemd does."""

    def start():
        command = ["env", f"{HANDED}={handed}", *LAE_MONITOR, "--config", str(gatherer.config), "gather", "incidents"]
        gatherer.process = gatherer.run(command, "gather")
        return gatherer.process

    return start


@pytest.fixture
def kept(gatherer):
    return gatherer.state / "credentials" / "incidents" / CERTIFICATE


def refused(process) -> str:
    assert process.child.wait(60) == EX_UNAVAILABLE, process.log()
    assert "Traceback" not in process.log()
    return process.log() + process.output()


def test_adopted_at_the_first_start_kept_at_the_next_and_new_furls_name_it(gatherer, gather, handed, pems, kept):
    (handed / IDENTITY).write_bytes(pems[0])
    for _ in range(2):
        process = gather()
        process.await_log("tub listening on")
        assert process.kill(15) == 0
        assert kept.read_bytes() == pems[0]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert b"PRIVATE" not in (process.log() + process.output()).encode()
    assert gatherer.register("node1").furl.reveal().startswith(f"pb://{tub_id(pems[0])}@tcp:127.0.0.1:{gatherer.port}/")


def test_a_node_reports_to_it_by_the_furl_of_the_old_host(gatherer, gather, handed, kept):
    furl = gatherer.register("node1").furl  # on the old host
    (handed / IDENTITY).write_bytes(kept.read_bytes())
    kept.unlink()  # the new one has the FURL's file from a backup, and the identity from the vault
    gather().await_log("tub listening on")
    gatherer.publisher(furl).send(message="disk full", level=30)
    assert gatherer.await_names("node1", 1)


def test_another_one_than_that_which_furls_name_is_refused(gatherer, gather, handed, pems, kept):
    kept.parent.mkdir(parents=True)
    kept.write_bytes(pems[0])
    (handed / IDENTITY).write_bytes(pems[1])
    said = refused(gather())
    assert f"{kept} is another identity than the one handed over: FURLs that were given out name the one" in said
    assert kept.read_bytes() == pems[0]


def test_nothing_handed_is_an_identity_of_its_own(gatherer, gather, handed, kept):
    (handed / "another-credential").write_text("of another kind")
    gather().await_log("tub listening on")
    assert tub_id(kept.read_bytes()) in gatherer.register("node1").furl.reveal()


def test_what_cannot_be_used_is_refused_before_anything_is_kept(gather, handed, kept):
    (handed / IDENTITY).write_text("not a certificate")
    assert f"{handed / IDENTITY}: no certificate in PEM form" in refused(gather())
    assert not kept.exists()


def encrypted(key: bytes) -> bytes:
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:secret"]
    return subprocess.run(command, input=key, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("empty", "no certificate"),
        ("bytes", "no certificate"),
        ("no key", "cannot be used: certificate and private key"),
        ("no certificate", "no certificate"),
        ("key of another", "key values mismatch"),
        ("encrypted key", "cannot be used: certificate and private key"),
        ("cut short", "cannot be used: certificate and private key"),
        ("rubbish within", "cannot be used: certificate and private key"),
    ],
)
def test_an_identity_is_whole_or_refused(tmp_path, pems, what, why):
    certificate, key = parts(pems[0])
    content = {
        "empty": b"",
        "bytes": b"\xff\xfe\0",
        "no key": certificate,
        "no certificate": key,
        "key of another": certificate + parts(pems[1])[1],
        "encrypted key": certificate + encrypted(key) if what == "encrypted key" else b"",
        "cut short": pems[0][:-200],
        "rubbish within": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + key,
    }[what]
    (tmp_path / "given").write_bytes(content)
    with pytest.raises(Refused, match=why) as caught:
        adopt(tmp_path / "kept", tmp_path / "given")
    assert str(tmp_path / "given") in str(caught.value)
    assert not (tmp_path / "kept").exists()


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "given").mkdir()
    with pytest.raises(Refused, match="given: cannot be used: Is a directory"):
        adopt(tmp_path / "kept", tmp_path / "given")
    adopt(tmp_path / "kept", tmp_path / "missing")
    assert not (tmp_path / "kept").exists()


def test_a_damaged_identity_is_not_replaced(tmp_path, pems):
    (tmp_path / "kept").write_text("damaged")
    (tmp_path / "given").write_bytes(pems[0])
    with pytest.raises(Refused, match="kept: no certificate in PEM form"):
        adopt(tmp_path / "kept", tmp_path / "given")
    assert (tmp_path / "kept").read_text() == "damaged"


def test_all_usual_forms_of_it_at_once_work_in_a_real_tub(gatherer, gather, handed, pems, kept):
    """The key first, text around it, CRLF, no last line end."""
    certificate, key = parts(pems[0])
    text = b"Key Attributes: none\n" + key + b"\nsubject=CN = tub\n" + certificate
    (handed / IDENTITY).write_bytes(text.rstrip().replace(b"\n", b"\r\n"))
    gather().await_log("tub listening on")
    furl = gatherer.register("node1").furl
    assert tub_id(pems[0]) in furl.reveal()
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    gatherer.publisher(furl).send(message="here", level=30)
    assert gatherer.await_names("node1", 1)

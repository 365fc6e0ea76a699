"""Everything that is in the way is said at once, with what to do; and looking leaves nothing behind."""

import json
import os
import platform
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from module_runs import Ansible, everything_below, imported

TAG = f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.system().lower()}_{platform.machine()}"
NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a disk of its own. Mounting needs root")
NOTHING = {"listen": {}, "units": [], "writable": {}, "free": 0, "files": {}, "tag": None, "python": sys.executable}


@pytest.fixture
def lae_preflight():
    return imported("lae_preflight")


@pytest.fixture
def ansible(tmp_path):
    return Ansible(tmp_path / "ansible")


@pytest.fixture
def found(lae_preflight, tmp_path, monkeypatch):
    """The problems of what is asked for, on a host that has systemd."""
    monkeypatch.setattr(lae_preflight, "SYSTEMD", tmp_path)
    return lambda check_mode=False, **wanted: list(lae_preflight.problems({**NOTHING, **wanted}, check_mode=check_mode))


@contextmanager
def listening(address: str = "127.0.0.1", *, only_v6: bool = True):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        taken = socket.socket(family)
        if family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        taken.bind((address, 0))
    except OSError as error:
        pytest.skip(f"NOT TESTED: {address}. This host has no such address: {error}")
    with taken:
        taken.listen()
        yield taken.getsockname()[1]


@contextmanager
def mounted(path: Path, options: str):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


# ---- ports ---------------------------------------------------------------------------------------------------------


def test_a_busy_port_is_a_sentence_with_variable_port_holder_and_what_to_do(found):
    with listening() as port:
        (said,) = found(listen={"monitor_port": f"127.0.0.1:{port}"})
    me = Path("/proc/self/comm").read_text().strip()
    holder = said.partition("is in use by ")[2].partition(":")[0]
    assert said.startswith(f"monitor_port: port {port} of this host is in use by ")
    assert holder == me or holder.endswith(".service")
    assert f"stop that (ss -ltnp 'sport = :{port}' says more), or set monitor_port to another port" in said


@pytest.mark.parametrize(
    ("taken", "wanted", "overlap"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "some.name", True),  # it may be any address
        ("127.0.0.1", "[::]", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "[::1]", False),
        ("127.0.0.1", "[::ffff:127.0.0.1]", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "192.0.2.1", True),
        ("0.0.0.0", "[::1]", False),
        ("::1", "[::1]", True),
        ("::1", "[0:0:0:0:0:0:0:1]", True),
        ("::1", "::1", True),
        ("::1", "localhost", True),
        ("::1", "[::]", True),
        ("::1", "127.0.0.1", False),
        ("::1", "0.0.0.0", False),
        ("::", "[::1]", True),
        ("::", "127.0.0.1", True),
    ],
)
def test_addresses_that_overlap_are_in_the_way(found, taken, wanted, overlap):
    with listening(taken, only_v6=False) as port:
        assert bool(found(listen={"x": f"{wanted}:{port}"})) == overlap


def test_a_connection_is_no_listener_and_a_free_port_is_free(found):
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as connected:
        assert found(listen={"x": f"127.0.0.1:{connected.getsockname()[1]}"}) == []
    assert found(listen={"x": f"127.0.0.1:{port}"}) == []


@pytest.mark.parametrize("number", ["0", "65536", "-1", "x", "", "8e3", "99999999999999999999"])
def test_what_is_no_port_is_said(found, number):
    assert found(listen={"monitor_port": f"127.0.0.1:{number}"}) == [
        f"monitor_port: {number} is no port: give one from 1 to 65535"
    ]


@pytest.fixture
def proc(tmp_path):
    """A folder as proc(5) describes it, with processes made up."""

    def process(number: int, comm: str, cgroup: str, sockets=(), gone=()):
        folder = tmp_path / "proc" / str(number)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "cgroup").write_text(cgroup)
        (folder / "fd" / "0").write_text("")  # no link: reading it as one fails, as one that was closed meanwhile
        for at, inode in enumerate(sockets, 1):
            (folder / "fd" / str(at)).symlink_to(f"socket:[{inode}]")
        return tmp_path / "proc"

    return process


CRASHES = "lae-monitor-crashes.service"


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        (f"0::/system.slice/{CRASHES}\n", CRASHES),
        (f"0::/system.slice/{CRASHES}/workers/one\n", CRASHES),
        (f"12:pids:/system.slice/{CRASHES}\n1:name=systemd:/system.slice/{CRASHES}\n0::/\n", CRASHES),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service\n", "nginx.service"),
        ("0::/system.slice/docker-0123.scope\n", "nginx"),
        ("0::/\n", "nginx"),
        ("", "nginx"),
    ],
)
def test_a_port_belongs_to_the_unit_of_its_process(lae_preflight, proc, cgroup, unit):
    proc(7, "other", "0::/system.slice/other.service\n", sockets=[5, 41])
    folder = proc(12, "nginx", cgroup, sockets=[3, 4])
    (folder / "net").mkdir()
    assert lae_preflight.holder("4", 80, folder) == unit
    assert lae_preflight.holder("41", 80, folder) == "other.service"
    assert lae_preflight.holder("40", 80, folder) == ""


def test_a_port_of_our_own_units_is_not_in_the_way(found, lae_preflight, proc, monkeypatch):
    with listening() as port:
        ((_, inode),) = lae_preflight.listeners(port)
        monkeypatch.setattr(lae_preflight, "PROC", proc(9, "lae-monitor", f"0::/system.slice/{CRASHES}\n", [inode]))
        listen = {"crash_collector_port": f"127.0.0.1:{port}"}
        assert found(listen=listen, units=["lae-monitor-crashes.socket", CRASHES]) == []
        (said,) = found(listen=listen, units=["lae-monitor-serve.service"])
        assert f"in use by {CRASHES}:" in said


def test_a_port_that_systemd_listens_on_for_a_unit(lae_preflight, proc, tmp_path, monkeypatch):
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        "#!/bin/sh\n"
        "echo '/run/x.sock x.socket x.service'\n"
        "echo '127.0.0.1:18642 wrong.socket wrong.service'\n"
        "echo '[::1]:8642 lae-monitor-serve.socket lae-monitor-serve.service'\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = proc(1, "systemd", "0::/init.scope\n", [4])
    assert lae_preflight.holder("4", 8642, folder) == "lae-monitor-serve.socket"
    assert lae_preflight.holder("4", 1, folder) == "systemd"
    (folder / "1" / "comm").write_text("dumb-init\n")  # in a container, say
    assert lae_preflight.holder("4", 8642, folder) == "dumb-init"


# ---- folders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_folder_that_is_there_or_can_be_made_is_fine_and_left_as_it_is(found, tmp_path, check_mode):
    (tmp_path / "there").mkdir()
    before = everything_below(tmp_path)
    places = [str(tmp_path / "there"), str(tmp_path / "to/be/made")]
    assert found(check_mode, writable={"lae_common_archive_roots": places, "none": []}, free=1) == []
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_path_that_is_no_folder_is_said(found, tmp_path, check_mode):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "file/below/it", "dangling"):
        (said,) = found(check_mode, writable={"lae_common_state": str(tmp_path / name)})
        there = tmp_path / name.partition("/")[0]
        assert said == f"lae_common_state: {there} is no folder: move it away, or set lae_common_state to another place"
    for name in ("", "relative/path"):
        (said,) = found(check_mode, writable={"lae_common_state": name})
        assert "is no folder's whole path" in said


@NOT_ROOT
@pytest.mark.root
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_disk_that_takes_nothing_is_said(found, tmp_path, check_mode):
    with mounted(tmp_path / "disk", "ro") as disk:
        (said,) = found(check_mode, writable={"lae_common_root": str(disk / "lae")})
    assert said == (
        f"lae_common_root: {disk} cannot be written (Read-only file system): mend that disk, or set lae_common_root to "
        "another place"
    )


@NOT_ROOT
@pytest.mark.root
def test_a_full_disk_is_said_and_nothing_is_left_on_it(found, tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        (disk / "hog").write_bytes(bytes(1 << 20))
        (said,) = found(writable={"lae_common_state": str(disk)})
        assert "cannot be written (No space left on device)" in said
        assert [path.name for path in disk.iterdir()] == ["hog"]
        (said,) = found(True, writable={"lae_common_state": str(disk)}, free=1)
        assert "has 0 MiB free, and 1 MiB are needed: make room, or set lae_common_state to a larger disk" in said


@pytest.mark.parametrize("check_mode", [False, True])
def test_too_little_free_space_is_said(found, tmp_path, check_mode):
    (said,) = found(check_mode, writable={"lae_common_state": str(tmp_path / "new")}, free=1 << 40)
    assert f"lae_common_state: {tmp_path} has " in said
    assert f" MiB free, and {1 << 40} MiB are needed" in said


@NOT_ROOT
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_folder_of_another_account_is_said(lae_preflight, tmp_path, check_mode):
    (tmp_path / "closed").mkdir(mode=0o755)
    os.seteuid(65534)
    try:
        for folder in ("/", "/usr"):
            said = list(lae_preflight.unwritable("x", Path(folder), 0, check_mode=check_mode))
            # access(2) asks for the real user; real runs are root's both ways
            assert check_mode or "cannot be written (Permission denied)" in said[0]
        assert not lae_preflight.is_file(tmp_path / "closed" / "file")
    finally:
        os.seteuid(0)


# ---- files and Python ----------------------------------------------------------------------------------------------


def test_missing_files_are_said(found, tmp_path):
    (tmp_path / "there").write_text("")
    paths = [str(tmp_path / name) for name in ("there", "missing", "there/below", "")]
    assert found(files={"tls_key": paths[0]}) == []
    said = found(files={"tls_key": paths})
    assert len(said) == 3
    assert said[0] == f"tls_key: there is no file {tmp_path}/missing on this host; correct the variable, or make it"


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_does_not_fit_is_said(found, lae_preflight, tmp_path, monkeypatch):
    assert found(tag=TAG) == []
    (said,) = found(tag="cp39-linux_m68k")
    assert f"the release is for cp39-linux_m68k, and this host is {TAG}: run make wheelhouse" in said
    (said,) = found(tag=TAG, python="/no/such/python")
    assert said.startswith("/no/such/python: No such file or directory; install Python 3.11 or newer")
    (said,) = found(tag=TAG, python=program(tmp_path / "broken", "exit 1"))
    assert "apt-get install python3-venv" in said
    monkeypatch.setattr(lae_preflight, "PATIENCE", 0.2)
    (said,) = found(tag=TAG, python=program(tmp_path / "slow", "exec sleep 5"))
    assert "does not answer within 0.2 s" in said


# ---- through ansible -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
def test_all_problems_are_said_at_once_and_nothing_is_left(ansible, tmp_path, check):
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "file").write_text("")
    before = everything_below(folder)
    with listening() as port:
        told = (ansible.by_ansible if check else ansible)(
            "lae_preflight", check=check,
            listen={"monitor_port": f"127.0.0.1:{port}", "other_port": "127.0.0.1:0"},
            units=["lae-monitor-serve.service"],
            writable={"lae_common_state": str(folder / "new"), "lae_common_root": [str(folder / "file")]},
            files={"key": str(folder / "missing")}, free=1 << 40, tag="cp39-linux_m68k", python=sys.executable,
        )  # fmt: skip
    problems = [said for said in told.answer["problems"] if not said.startswith("systemd does not run")]
    assert len(problems) == 6, problems
    for words in ("cp39", "monitor_port: port", "other_port: 0", "MiB free", "is no folder", "there is no file"):
        assert sum(words in said for said in problems) == 1, words
    assert told.failed == "Nothing was changed on this host. " + "; ".join(told.answer["problems"])
    assert not told.changed
    assert everything_below(folder) == before


def test_a_host_without_systemd_is_said(lae_preflight, ansible, tmp_path, monkeypatch):
    monkeypatch.setattr(lae_preflight, "SYSTEMD", tmp_path / "none")
    (said,) = lae_preflight.problems(NOTHING, check_mode=False)
    assert said.startswith("systemd does not run on this host")
    told = ansible("lae_preflight", tag=TAG, python=sys.executable, writable={"x": str(tmp_path)}, free=1)
    expected = [] if Path("/run/systemd/system").is_dir() else [said]
    assert (told.answer["problems"], bool(told.failed)) == (expected, bool(expected)), json.dumps(told.answer)

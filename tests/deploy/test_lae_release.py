"""Releases are whole or not there, current is never missing, and nothing hostile gets out of an archive."""

import base64
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from module_runs import HOUSE, Ansible, everything_below, imported

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
OLD, NEW, NEWER = "0.1.0-aaaaaaaaaaaa", "0.2.0-bbbbbbbbbbbb", "0.3.0-cccccccccccc"
PATIENCE = 60.0

WELL = "def main():\n    print('lae-monitor {version}')\n"
FAILING = "def main():\n    raise SystemExit('it does not start')\n"
SLOW = "import sys, time\ndef main():\n    open('{mark}', 'w').close()\n    time.sleep(600)\n"


def wheel(version: str, code: str = WELL, mode: int = 0o644) -> bytes:
    """A wheel of a lae-monitor that prints its version."""
    about = f"lae_monitor-{version}.dist-info"
    files = {
        "lae_monitor/__init__.py": code.replace("{version}", version),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: lae-monitor\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\nlae-monitor = lae_monitor:main\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for name, text in files.items()
    )
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, text)
    return packed.getvalue()


def members(version: str, code: str = WELL, *, uv: Path | None = None, mode: int = 0o644) -> dict[str, bytes]:
    own = wheel(version, code, mode)
    found = {
        f"wheelhouse/lae_monitor-{version}-py3-none-any.whl": own,
        "wheelhouse/requirements.txt": f"lae-monitor=={version} --hash=sha256:{hashlib.sha256(own).hexdigest()}\n".encode(),
    }
    if uv is not None:
        found[f"wheelhouse/{uv.name}"] = uv.read_bytes()
    return found


def pack(path: Path, content: dict[str, bytes]) -> str:
    """Writes the archive; returns its hash."""
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Place:
    """A root of releases, and archives to install there."""

    def __init__(self, folder: Path, ansible):
        self.folder = folder
        self.root = folder / "opt" / "lae-monitor"
        self.ansible = ansible

    def archive(self, name: str, content: dict[str, bytes] | None = None, **options) -> dict:
        """Arguments that install it."""
        path = self.folder / f"lae-monitor-{name}.tar"
        sha256 = pack(path, content or members(name.partition("-")[0], **options))
        return {**self.places(), "name": name, "archive": str(path), "sha256": sha256, "python": PYTHON}

    def places(self) -> dict:
        """Nothing of this host is looked at."""
        return {"root": str(self.root), "config": str(self.folder / "etc"), "units": str(self.folder / "units")}

    def install(self, name: str, **options):
        told = self.ansible("lae_release", state="installed", **self.archive(name, **options))
        assert not told.failed, told
        return told

    def have(self, *names: str) -> None:
        """Releases that were installed; each program only says its version. pip would take seconds."""
        for name in names:
            program = self.root / "releases" / name / "bin" / "lae-monitor"
            program.parent.mkdir(parents=True)
            program.write_text(f"#!/bin/sh\necho lae-monitor {name.partition('-')[0]}\n")
            program.chmod(0o755)
            (program.parents[1] / ".complete").write_text("")

    def state(self, state: str, *, check: bool = False, **arguments):
        return self.ansible("lae_release", check=check, **self.places(), state=state, **arguments)

    def whole(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob("releases/*/.complete"))

    def links(self) -> tuple[str, str]:
        """What is current, and what was."""
        return tuple(
            os.readlink(self.root / name) if os.path.lexists(self.root / name) else ""
            for name in ("current", "previous")
        )

    def says(self) -> str:
        done = subprocess.run([self.root / "current/bin/lae-monitor"], capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture(scope="module")
def lae_release():
    return imported("lae_release")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, Ansible(tmp_path / "ansible"))


@pytest.fixture
def pretend(tmp_path, lae_release):
    """Releases without what is in them."""
    releases = lae_release.Releases(str(tmp_path / "root"))

    def make(*names):
        for age, name in enumerate(names):
            releases.path(name).mkdir(parents=True)
            stamp = releases.path(name) / lae_release.STAMP
            stamp.write_text("")
            os.utime(stamp, (1_700_000_000 + age, 1_700_000_000 + age))
        return releases

    return make


def own_uv() -> Path:
    found = next(HOUSE.glob("dist/wheelhouse/uv-*.whl"), None)
    if found is None:
        pytest.skip("NOT TESTED: installation by uv. Its wheel is not here: make wheelhouse fetches it")
    return found


# ---- one release ---------------------------------------------------------------------------------------------------


def test_a_release_is_installed_used_and_removed(place):
    told = place.state("query", name=OLD)
    assert (told.changed, told.answer["installed"], told.answer["releases"], place.root.exists()) == (
        False,
        False,
        [],
        False,
    )

    arguments = place.archive(OLD)
    before = everything_below(place.folder / "lae-monitor-0.1.0-aaaaaaaaaaaa.tar")
    told = place.ansible.by_ansible("lae_release", check=True, state="installed", **arguments)
    assert (told.changed, place.root.exists()) == (True, False)
    assert everything_below(Path(arguments["archive"])) == before

    told = place.ansible.by_ansible("lae_release", state="installed", **arguments)
    assert (told.changed, told.answer["installer"], told.answer["installed"]) == (True, "pip", True), told
    assert (told.answer["current"], place.links()) == ("", ("", ""))
    assert not Path(arguments["archive"]).exists()
    assert sorted(path.name for path in place.root.iterdir()) == [".lock", "releases"]
    assert not (place.root / "releases" / OLD / ".wheels").exists()

    before = everything_below(place.root)
    told = place.ansible("lae_release", state="installed", **arguments)  # its archive is gone, and not needed
    assert (told.failed, told.changed, everything_below(place.root)) == ("", False, before)
    told = place.state("current", name=OLD, check=True)
    assert (told.changed, everything_below(place.root)) == (True, before)

    told = place.state("current", name=OLD)
    assert (told.changed, told.answer["current"], place.links()) == (True, OLD, (f"releases/{OLD}", ""))
    assert place.says() == "lae-monitor 0.1.0"
    before = everything_below(place.root)
    assert not place.state("current", name=OLD).changed
    told = place.state("query", name=OLD)
    assert (told.changed, told.answer["installed"], told.answer["current"]) == (False, True, OLD)
    told = place.state("absent", check=True)
    assert (told.changed, everything_below(place.root)) == (True, before)

    assert place.state("absent").changed
    assert not place.root.exists()
    assert not place.state("absent").changed
    assert not place.root.exists()


def test_uv_installs_it_when_the_archive_has_it(place):
    told = place.install(OLD, uv=own_uv())
    assert told.answer["installer"] == "uv"
    place.state("current", name=OLD)
    assert place.says() == "lae-monitor 0.1.0"
    assert list(place.root.glob("releases/*/lib/*/site-packages/lae_monitor/__pycache__/*.pyc"))
    assert not [path for path in place.root.rglob("uv") if path.is_file()]


@pytest.mark.parametrize("content", [b"no zip", None])
def test_a_uv_that_does_not_run_here_is_done_without(tmp_path, lae_release, content):
    if content is None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("uv-1.data/scripts/uv", b"\x7fELF of another machine")
        content = packed.getvalue()
    (tmp_path / "uv-1-py3-none-any.whl").write_bytes(content)
    assert lae_release.fast_installer(tmp_path) is None


@pytest.mark.parametrize("with_uv", [False, True])
def test_services_of_another_account_can_read_it_whatever_the_umask(place, with_uv):
    uv = own_uv() if with_uv else None
    arguments = place.archive(OLD, uv=uv, mode=0o600)
    assert place.ansible("lae_release", state="installed", umask=0o077, **arguments).changed
    assert place.ansible("lae_release", state="current", umask=0o077, **place.places(), name=OLD).changed
    closed = [
        str(path)
        for path in [place.root, *place.root.rglob("*")]
        if path.name != ".lock" and not path.is_symlink()
        if path.stat().st_mode & (0o005 if path.is_dir() else 0o004) != (0o005 if path.is_dir() else 0o004)
    ]
    assert closed == []
    assert (place.root / "releases" / OLD / "bin" / "lae-monitor").stat().st_mode & 0o111 == 0o111


def test_nothing_of_the_callers_python_gets_in_the_way(place, tmp_path):
    (tmp_path / "lae_monitor.py").write_text("raise SystemExit('a stranger')")
    (tmp_path / "home" / ".config" / "pip").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "pip" / "pip.conf").write_text("[install]\ntarget = /no/such/place\n")
    environment = {
        "PYTHONPATH": str(tmp_path),
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_REQUIRE_VIRTUALENV": "x",
        "UV_TARGET": str(tmp_path / "elsewhere"),
        "XDG_CONFIG_HOME": str(tmp_path / "home" / ".config"),
    }
    for number, uv in enumerate([None, *list(HOUSE.glob("dist/wheelhouse/uv-*.whl"))[:1]], 1):
        name = f"0.{number}.0-aaaaaaaaaaaa"
        told = place.ansible("lae_release", state="installed", environment=environment, **place.archive(name, uv=uv))
        assert told.changed, told
    assert not (tmp_path / "elsewhere").exists()


# ---- what is refused -----------------------------------------------------------------------------------------------


def nothing_is_left(place, before):
    assert place.whole() == []
    assert list((place.root / "releases").glob("*")) == []
    assert place.links() == ("", "")
    assert before == sorted(path.name for path in place.folder.iterdir() if path.name not in {"opt", "ansible"})


@pytest.fixture
def remembered(place):
    return lambda: sorted(path.name for path in place.folder.iterdir() if path.name not in {"opt", "ansible"})


def test_an_archive_with_another_hash_is_refused(place, remembered):
    arguments = place.archive(OLD)
    with Path(arguments["archive"]).open("ab") as file:
        file.write(b"\0")
    before = remembered()
    told = place.ansible.by_ansible("lae_release", state="installed", **arguments)
    assert "its SHA-256 differs): remove it, and run this again" in told.failed
    nothing_is_left(place, before)


def test_an_archive_that_is_missing_or_cut_short_is_said(place, remembered):
    told = place.ansible(
        "lae_release", state="installed", **place.places(), name=OLD, archive="/no/such.tar", sha256="0"
    )
    assert "there is no archive /no/such.tar" in told.failed
    told = place.ansible("lae_release", state="installed", **place.places(), name=OLD)
    assert "archive and sha256 are needed" in told.failed
    arguments = place.archive(OLD)
    data = Path(arguments["archive"]).read_bytes()[:1500]
    Path(arguments["archive"]).write_bytes(data)
    told = place.ansible("lae_release", state="installed", **{**arguments, "sha256": hashlib.sha256(data).hexdigest()})
    assert told.failed
    nothing_is_left(place, remembered())


def test_a_wheel_with_another_hash_is_refused(place, remembered):
    content = members("0.1.0")
    content["wheelhouse/lae_monitor-0.1.0-py3-none-any.whl"] = wheel("0.1.0", FAILING)
    arguments = place.archive(OLD, content)
    told = place.ansible("lae_release", state="installed", **arguments)
    assert "HASHES" in told.failed
    nothing_is_left(place, remembered())


def test_a_release_that_does_not_start_leaves_current_as_it_is(place):
    place.have(OLD)
    place.state("current", name=OLD)
    told = place.ansible("lae_release", state="installed", **place.archive(NEW, code=FAILING))
    assert "lae-monitor --version ended with 1: it does not start" in told.failed
    assert (place.whole(), place.links()) == ([OLD], (f"releases/{OLD}", ""))
    assert not (place.root / "releases" / NEW).exists()
    told = place.state("current", name=NEW)
    assert "is not installed" in told.failed
    assert place.says() == "lae-monitor 0.1.0"


HOSTILE = {
    "above": ("../escaped", tarfile.REGTYPE),
    "above, from within": ("wheelhouse/../../escaped", tarfile.REGTYPE),
    "the folder itself": ("wheelhouse/..", tarfile.REGTYPE),
    "absolute": ("/tmp/lae-escaped", tarfile.REGTYPE),
    "absolute, looking right": ("/wheelhouse/escaped", tarfile.REGTYPE),
    "deeper": ("wheelhouse/deeper/escaped", tarfile.REGTYPE),
    "outside": ("escaped", tarfile.REGTYPE),
    "symlink": ("wheelhouse/link.whl", tarfile.SYMTYPE),
    "hard link": ("wheelhouse/link.whl", tarfile.LNKTYPE),
    "character device": ("wheelhouse/device.whl", tarfile.CHRTYPE),
    "block device": ("wheelhouse/device.whl", tarfile.BLKTYPE),
    "fifo": ("wheelhouse/fifo.whl", tarfile.FIFOTYPE),
    "folder": ("wheelhouse/folder", tarfile.DIRTYPE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_members_are_refused(tmp_path, lae_release, what):
    name, kind = HOSTILE[what]
    root = tmp_path / "root"
    archive = tmp_path / "archive.tar"
    pack(archive, members("0.1.0"))
    with tarfile.open(archive, "a") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.devmajor, info.devminor = kind, "/etc/passwd", 1, 3
        tar.addfile(info)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(lae_release.Failed, match="which no release of ours does"):
        lae_release.Releases(str(root)).install(OLD, archive, sha256, PYTHON)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "archive.tar", "root", "root/releases",
    ]  # fmt: skip
    assert not Path("/tmp/lae-escaped").exists()


@given(
    name=st.lists(st.sampled_from(["wheelhouse", "..", ".", "/", "//", "a", "\\", "~", "\0", ""]), max_size=7).map(
        "".join
    )
)
@example("wheelhouse/..")
def test_no_name_of_a_member_leads_out_of_the_wheelhouse(lae_release, tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("archive")
    archive = folder / "archive.tar"
    pack(archive, {name: b"x"})
    with suppress(lae_release.Failed):
        lae_release.unpack(archive, folder / "wheels")
    files = [path for path in folder.rglob("*") if path.is_file() and path != archive]
    assert all(path.parent == folder / "wheels" / "wheelhouse" for path in files), files
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "/etc", "0/../../x", "0.1\n", "-rf", "0" * 101, "0 1", "x"])
def test_names_that_lead_elsewhere_are_refused(place, lae_release, name):
    assert not lae_release.NAME.fullmatch(name)
    if name in {"../x", "", "0/../../x"}:
        for state in ("query", "installed", "current"):
            told = place.state(state, name=name)
            assert "is not the name of a release" in told.failed
        assert not place.root.exists()


@pytest.mark.parametrize("root", ["/", "relative/folder"])
def test_a_root_that_cannot_be_meant_is_refused(lae_release, tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)

    class Module:
        params = {"name": OLD, "state": "absent", "root": root}
        check_mode = True  # so that nothing happens, should it not be refused

    with pytest.raises(lae_release.Failed, match="cannot hold releases"):
        lae_release.act(Module, lae_release.Releases(root), None)


# ---- cut off -------------------------------------------------------------------------------------------------------


def await_that(condition, what):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.01)
    return found


def start_cut_off(place, arguments, mark):
    """The module alone, in a process group of its own, as it installs; killed once `mark` is there."""
    code = (
        "import json, sys; from ansible.module_utils.testing import patch_module_args\n"
        "sys.path.insert(0, sys.argv[1]); from module_runs import imported; m = imported('lae_release')\n"
        "with patch_module_args(json.loads(sys.argv[2])): m.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), json.dumps(arguments)],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=place.ansible.environment,
    )  # fmt: skip
    await_that(lambda: mark() or process.poll() is not None, "it has begun")
    assert process.poll() is None, process.stderr.read().decode()
    return process


MARKS = {
    "unpacking": "releases/{}/.wheels",
    "making the environment": "releases/{}/pyvenv.cfg",
    "installing": "releases/{}/lib/*/site-packages/pip",
    "trying it": "../../began",
}


@pytest.mark.parametrize(
    "moment", [moment if moment == "installing" else pytest.param(moment, marks=pytest.mark.full) for moment in MARKS]
)
def test_killed_in_the_midst_of_it_the_next_run_succeeds(place, moment):
    place.have(OLD)
    place.state("current", name=OLD)
    code = SLOW.replace("{mark}", str(place.folder / "began"))
    arguments = place.archive(NEW, code=code)
    process = start_cut_off(
        place,
        {**arguments, "state": "installed"},
        lambda: list(place.root.glob(MARKS[moment].format(NEW))),
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert (place.whole(), place.links(), place.says()) == ([OLD], (f"releases/{OLD}", ""), "lae-monitor 0.1.0")
    assert (place.root / "releases" / NEW).exists()  # so it was in the midst
    told = place.state("query", name=NEW)
    assert (told.answer["installed"], told.answer["releases"]) == (False, [OLD])
    assert "is not installed" in place.state("current", name=NEW).failed
    place.install(NEW)
    assert place.state("current", name=NEW).changed
    assert (place.says(), place.links()) == ("lae-monitor 0.2.0", (f"releases/{NEW}", f"releases/{OLD}"))
    assert not list(place.root.rglob(".wheels"))


def test_what_was_cut_off_goes_with_the_next_switch(place, pretend, lae_release):
    releases = pretend(OLD, NEW)
    (releases.path(NEWER) / "bin").mkdir(parents=True)
    (releases.folder / "a file").write_text("")
    (releases.folder / "a link").symlink_to("/etc")
    releases.switch(OLD)
    going = releases.superfluous(3, NEW)
    assert sorted(going) == sorted(["a file", "a link", NEWER])
    for name in going:
        releases.remove(name)
    assert sorted(path.name for path in releases.folder.iterdir()) == [OLD, NEW]
    assert Path("/etc/passwd").exists()


@pytest.mark.full
def test_what_a_killed_run_left_running_ends_before_the_next_begins(place):
    """The module alone is killed, by the kernel for want of memory, say; the program it started goes on."""
    code = SLOW.replace("{mark}", str(place.folder / "began")).replace("600", "4")
    arguments = place.archive(NEW, code=code)
    process = start_cut_off(place, {**arguments, "state": "installed"}, (place.folder / "began").exists)
    began = (place.folder / "began").stat().st_mtime
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    place.install(NEW)
    assert (place.root / "releases" / NEW / "pyvenv.cfg").stat().st_mtime - began >= 3.5
    place.state("current", name=NEW)
    assert place.says() == "lae-monitor 0.2.0"


def test_two_runs_at_once_make_one_release(place):
    arguments = place.archive(NEW)
    told = []
    runs = [threading.Thread(target=lambda: told.append(place.state_of(arguments))) for _ in range(2)]
    place.state_of = lambda arguments: place.ansible("lae_release", state="installed", **arguments)
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [one.failed for one in told] == ["", ""]
    assert sorted(one.changed for one in told) == [False, True]
    place.state("current", name=NEW)
    assert place.says() == "lae-monitor 0.2.0"


def test_a_run_that_waits_too_long_says_for_what(tmp_path, lae_release, monkeypatch):
    monkeypatch.setattr(lae_release, "LOCK_PATIENCE", 0.3)
    releases = lae_release.Releases(str(tmp_path / "root"))
    other = lae_release.Releases(str(tmp_path / "root"))
    with releases.locked(), pytest.raises(lae_release.Failed, match="another run changes"), other.locked():
        pass


# ---- current and previous ------------------------------------------------------------------------------------------


def test_a_reader_finds_the_old_release_or_the_new_one_and_never_none(place, lae_release):
    place.have(OLD, NEW)
    releases = lae_release.Releases(str(place.root))
    releases.switch(OLD)
    found, missing, stop = set(), [], threading.Event()

    def read(run):
        while not stop.is_set():
            try:
                found.add(os.readlink(place.root / "current"))
                os.stat(place.root / "current/bin/lae-monitor")
                if run:
                    found.add(place.says())
            except (OSError, subprocess.SubprocessError) as error:
                missing.append(error)

    readers = [threading.Thread(target=read, args=(number == 0,)) for number in range(3)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + 4
    count = 0
    while time.monotonic() < end:
        releases.switch((NEW, OLD)[count % 2])
        count += 1
    stop.set()
    for reader in readers:
        reader.join()
    assert missing == []
    assert found >= {f"releases/{OLD}", f"releases/{NEW}"}
    assert count > 10


def test_previous_goes_back_and_forth(place):
    assert "there is no previous release" in place.state("previous").failed
    place.have(OLD)
    place.state("current", name=OLD)
    assert "there is no previous release" in place.state("previous").failed
    place.have(NEW)
    place.state("current", name=NEW)
    told = place.state("previous", check=True)
    assert (told.changed, place.links()) == (True, (f"releases/{NEW}", f"releases/{OLD}"))
    for current, before, version in ((OLD, NEW, "0.1.0"), (NEW, OLD, "0.2.0")):
        told = place.state("previous")
        assert (told.changed, told.answer["current"], told.answer["previous"]) == (True, current, before)
        assert place.says() == f"lae-monitor {version}"
    shutil.rmtree(place.root / "releases" / OLD)
    assert "there is no previous release" in place.state("previous").failed
    assert place.says() == "lae-monitor 0.2.0"


@pytest.mark.parametrize("keep", [-1, 0, 1, 2, 3, 4, 9])
def test_keep_removes_the_oldest_but_never_current_or_previous(pretend, keep):
    names = [f"0.{number}.0-x" for number in range(6)]
    releases = pretend(*names)
    releases.switch(names[0])  # the oldest is current, and will be previous
    going = releases.superfluous(keep, names[3])
    assert not {names[0], names[3]} & set(going)
    staying = [name for name in names if name not in going]
    assert len(staying) == min(max(keep, 2), 6)
    others = [names[5], names[4], names[2], names[1]]
    assert set(staying) == {names[0], names[3], *others[: max(keep, 2) - 2]}
    releases.switch(names[3])
    assert sorted(releases.superfluous(keep, names[3])) == sorted(going)  # as it stays


def test_keep_counts_through_ansible_and_check_mode_tells(place, pretend, tmp_path):
    names = [f"0.{number}.0-x" for number in range(5)]
    pretend(*names)
    place.root = tmp_path / "root"
    told = place.state("current", name=names[4], keep=3, check=True)
    assert (told.changed, sorted(told.answer["removed"]), len(place.whole())) == (True, names[:2], 5)
    told = place.state("current", name=names[4], keep=3)
    assert (told.answer["releases"], sorted(told.answer["removed"])) == ([names[4], names[3], names[2]], names[:2])
    told = place.state("current", name=names[4], keep=2)
    assert (told.changed, told.answer["releases"]) == (True, [names[4], names[3]])
    assert not place.state("current", name=names[4], keep=2).changed


def test_check_mode_does_not_tell_of_removing_what_would_be_installed(pretend):
    releases = pretend(OLD)
    releases.switch(OLD)
    releases.path(NEW).mkdir()  # cut off, and about to be made anew
    assert releases.superfluous(3, NEW) == []


def test_a_switch_that_was_cut_off_between_its_renames_is_repeated(pretend):
    releases = pretend(OLD, NEW)
    releases.switch(OLD)
    releases._point("previous", OLD)  # and then the power went
    (releases.root / ".current.new").symlink_to("rubbish")
    assert releases.switch(NEW)
    assert (releases.link("current"), releases.link("previous")) == (NEW, OLD)


def test_absent_leaves_what_is_not_ours(place, pretend, tmp_path):
    pretend(OLD)
    place.root = tmp_path / "root"
    (place.root / "incoming").mkdir()
    (place.root / "incoming" / "archive.tar").write_text("")
    (place.root / "notes.txt").write_text("an operator's")
    (place.root / "current").symlink_to(f"releases/{OLD}")
    assert place.state("absent").changed
    assert [path.name for path in place.root.rglob("*")] == ["notes.txt"]

#!/usr/bin/python
# MIT License; see LICENSE.
"""Installs releases of lae-monitor side by side, and switches between them at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lae_release
short_description: Releases of lae-monitor, side by side, one of them current
description:
  - Keeps releases under I(root)C(/releases/NAME), each a virtual environment made from the wheels of one archive, without
    a network. C(current) and C(previous) are symbolic links; C(current) is switched by one rename, so that a service finds
    the old release or the new one, and never none.
  - Configuration and units are switched with the release. C(next), below I(root), has those that the roles write; what was
    in force before is kept with its release, in C(kept), and is in force again when that release is.
  - A release is whole once it has its stamp. One whose installation was cut off is removed and made anew.
  - Only one run at a time changes anything below I(root); another one waits for it.
options:
  root:
    description: The folder of the releases.
    type: path
    default: /opt/lae-monitor
  name:
    description: The release, as C(make wheelhouse) names it. Needed for C(installed) and C(current).
    type: str
  state:
    description:
      - C(query) only tells; C(installed) makes the release from I(archive), unless it is there; C(staged) makes C(next) a
        copy of the configuration and units in force; C(current) switches to the release, with C(next), and removes all but
        the newest I(keep).
      - C(previous) switches back to what was current before, or to I(name), with what it last ran with, and restarts all
        services; C(absent) removes all releases, and I(root), unless something else is in it.
      - C(current) and C(previous) change nothing when the release refuses the configuration that it is about to get.
    type: str
    choices: [query, installed, staged, current, previous, absent]
    default: query
  config:
    description: The folder of the configuration.
    type: path
    default: /etc/lae-monitor
  units:
    description: The folder of the units.
    type: path
    default: /etc/systemd/system
  archive:
    description: The archive on this host, for C(installed). It is removed once its release is whole.
    type: path
  sha256:
    description: What the archive must hash to.
    type: str
  python:
    description: The Python that the release runs on.
    type: path
    default: /usr/bin/python3
  keep:
    description: How many releases stay, the current and the previous one always among them.
    type: int
    default: 3
attributes:
  check_mode:
    support: full
    description: Tells what would change, and changes nothing.
author: lae_monitor maintainers
"""

EXAMPLES = r"""
- name: Install a release
  lae_release:
    name: 0.1.0-0123456789ab
    state: installed
    archive: /opt/lae-monitor/incoming/lae-monitor-0.1.0-0123456789ab-cp311-linux_x86_64.tar
    sha256: "{{ release.sha256 }}"

- name: Use it from now on
  lae_release:
    name: 0.1.0-0123456789ab
    state: current

- name: Go back, with the configuration and the units of then
  lae_release:
    state: previous
"""

RETURN = r"""
unfinished:
  description: Whether a switch was begun and not ended; C(current) and C(previous) end it.
  type: bool
  returned: failure
installed:
  description: Whether the release is there, and whole.
  type: bool
  returned: always
current:
  description: The name of the current release, empty when there is none.
  type: str
  returned: always
previous:
  description: The name of the release that was current before, empty when there is none.
  type: str
  returned: always
releases:
  description: All whole releases, the newest first.
  type: list
  elements: str
  returned: always
units:
  description: The units in force.
  type: list
  elements: str
  returned: always
parts:
  description: What they run, as C(lae-monitor check) calls it.
  type: list
  elements: str
  returned: always
states:
  description: A sentence for each service, such as C(lae-monitor-serve.service failed (exit code 78)).
  type: list
  elements: str
  returned: always
outdated:
  description: Services that have been running since before their unit, configuration or release changed.
  type: list
  elements: str
  returned: always
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils import lae_deployed as deployment
except ImportError:  # installed as a collection
    from ansible_collections.lae.monitor.plugins.module_utils import lae_deployed as deployment

NAME = re.compile(r"[0-9][A-Za-z0-9._+-]{0,99}")
STAMP = ".complete"
WHEELHOUSE = "wheelhouse"
WHEELS = ".wheels"  # in the release while it is made: what is cut off leaves nothing elsewhere
LOCK = ".lock"
LOCKED = "LAE_RELEASE_LOCK"  # the lock's descriptor, for the programs of an installation
INCOMING = "incoming"  # where the role puts archives
PATIENCE = 900  # seconds for one step of an installation; a slow disk needs a minute
LOCK_PATIENCE = 60  # seconds; what was left behind by a run that was cut off has ended by then
OF_THE_CALLER = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "LAE_MONITOR")  # variables that would lead us elsewhere


class Failed(Exception):
    """What went wrong, as a sentence for the operator."""


class Releases:
    """The releases below `root`."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.folder = self.root / "releases"

    def path(self, name: str) -> Path:
        return self.folder / name

    def is_whole(self, name: str) -> bool:
        return bool(name) and (self.path(name) / STAMP).is_file()

    def link(self, name: str) -> str:
        """The release that the link `name` points to, "" when there is none."""
        try:
            return (self.root / name).readlink().name
        except OSError:
            return ""

    def whole(self) -> list[str]:
        """All whole releases, the one that was installed last first."""
        try:
            stamps = [(path / STAMP) for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        found = sorted((-stamp.stat().st_mtime, stamp.parent.name) for stamp in stamps if stamp.is_file())
        return [name for _, name in found]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other run changes anything meanwhile. Programs that we start hold the lock too, should they outlive us.

        Raises:
            Failed: another one goes on for longer than a minute.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + LOCK_PATIENCE
            while not try_lock(fd):
                if time.monotonic() > until:
                    raise Failed(
                        f"another run changes {self.root} (fuser -v {self.root / LOCK}): run this again after it"
                    )
                time.sleep(0.2)
            os.environ[LOCKED] = str(fd)
            yield
        finally:
            if os.environ.get(LOCKED) == str(fd):
                del os.environ[LOCKED]
            os.close(fd)

    def install(self, name: str, archive: Path, sha256: str, python: str) -> str:
        """Makes the release from `archive`; returns which installer did it."""
        release = self.path(name)
        if not archive.is_file():
            raise Failed(f"there is no archive {archive} on this host: bring it here first")
        if digest(archive) != sha256.lower():
            raise Failed(
                f"{archive} is not what the controller has (its SHA-256 differs): remove it, and run this again"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        deployment.discard(release)  # one that was cut off
        try:
            unpack(archive, release / WHEELS)
            run([python, "-m", "venv", "--without-pip", str(release)])
            installer = fill(release, release / WHEELS / WHEELHOUSE)
            run([str(release / "bin" / "lae-monitor"), "--version"])
            shutil.rmtree(release / WHEELS)
        except BaseException:
            shutil.rmtree(release, ignore_errors=True)
            raise
        os.sync()  # everything of the release, before its stamp says so
        write_durably(release / STAMP, f"{sha256}\n")
        return installer

    def switch(self, name: str) -> bool:
        """Makes `name` current, and what was current previous."""
        current = self.link("current")
        if current == name:
            return False
        if current:
            self._point("previous", current)
        self._point("current", name)
        return True

    def _point(self, link: str, name: str) -> None:
        temporary = self.root / f".{link}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("releases") / name)
        temporary.replace(self.root / link)
        deployment.sync_folder(self.root)

    def superfluous(self, keep: int, name: str) -> list[str]:
        """What is to go when `name` is current."""
        current = self.link("current")
        before = current if current != name else self.link("previous")
        staying = [name, *([before] if before else [])]
        staying += [release for release in self.whole() if release not in staying]
        there = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        broken = [release for release in there if not self.is_whole(release) and release not in {name, before}]
        return staying[max(keep, 2) :] + broken

    def remove(self, name: str) -> None:
        """The stamp first: what is half removed is not whole."""
        if self.is_whole(name):
            (self.path(name) / STAMP).unlink()
        deployment.discard(self.path(name))

    def remove_all(self) -> None:
        """Everything of ours, and `root` itself if nothing else is in it."""
        for name in self.whole():
            self.remove(name)
        for link in ("current", "previous"):
            for path in (self.root / link, self.root / f".{link}.new"):
                if path.is_symlink():
                    path.unlink()
        for path in (self.folder, *(self.root / name for name in ("next", ".switching", INCOMING, LOCK))):
            deployment.discard(path)
        with suppress(OSError):
            self.root.rmdir()


def try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            found.update(piece)
    return found.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Plain files of the wheelhouse only, whatever the archive names."""
    (folder / WHEELHOUSE).mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            source = tar.extractfile(member) if member.isreg() else None
            if source is None or path.parent != Path(WHEELHOUSE) or path.name == "..":
                raise Failed(f"{archive} holds {member.name!r}, which no release of ours does")
            with source, (folder / WHEELHOUSE / path.name).open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def fill(release: Path, wheelhouse: Path) -> str:
    """Installs the wheels into the virtual environment; returns by what."""
    python = str(release / "bin" / "python")
    common = [
        "--no-index",
        "--find-links",
        str(wheelhouse),
        "--require-hashes",
        "-r",
        str(wheelhouse / "requirements.txt"),
    ]
    uv = fast_installer(wheelhouse)
    if uv is not None:
        environment = {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "HOME": str(wheelhouse)}
        quick = ["--quiet", "--offline", "--no-cache", "--compile-bytecode", "--python", python]
        run([str(uv), "pip", "install", *quick, *common], environment)
        (release / ".lock").unlink(missing_ok=True)  # uv's own, which everybody may write
        return "uv"
    run([python, "-m", "ensurepip"])
    run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *common])
    return "pip"


def fast_installer(wheelhouse: Path) -> Path | None:
    """uv, taken out of its wheel, if it runs here: it installs in seconds what takes pip half a minute."""
    wheel = next(wheelhouse.glob("uv-*.whl"), None)
    if wheel is None:
        return None
    target = wheelhouse / "uv"
    try:
        with zipfile.ZipFile(wheel) as wheel_file:
            program = next(name for name in wheel_file.namelist() if name.endswith(".data/scripts/uv"))
            with wheel_file.open(program) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        target.chmod(0o700)
        run([str(target), "--version"])
    except (zipfile.BadZipFile, StopIteration, OSError, Failed):  # of another machine, say
        return None
    return target


def refusal(release: Path, files: deployment.Files, config: Path) -> str:
    """Why `release` does not take the configuration in folder `config`, which holds `files`; "" when it does."""
    if deployment.MAIN not in files:
        return ""
    words = ["--config", str(config / deployment.MAIN.rpartition("/")[2]), "check", "config", "--no-environment"]
    done = attempt([str(release / "bin" / "lae-monitor"), *words, *deployment.Units(files).parts], {"NO_COLOR": "1"})
    if not done.returncode:
        return ""
    said = (done.stdout + done.stderr).strip()
    problems = [line.removeprefix("problem").strip() for line in said.splitlines() if line.startswith("problem")]
    return "; ".join(problems) or f"exit code {done.returncode}: {said[-2000:]}"


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = attempt(command, environment)
    if done.returncode:
        raise Failed(
            f"{' '.join(command[:4])} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )


def attempt(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    caller = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_CALLER)}
    own = {"LC_ALL": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull, "PYTHONNOUSERSITE": "1"}
    lock = caller.pop(LOCKED, None)
    return subprocess.run(
        command,
        env={**caller, **own, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PATIENCE,
        pass_fds=[int(lock)] if lock else [],
        check=False,
    )


def write_durably(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    deployment.sync_folder(path.parent)


def act(module: AnsibleModule, releases: Releases, deployed: deployment.Deployed) -> dict[str, object]:
    """Does what the task asks for; returns what it changed."""
    name, state = module.params["name"], module.params["state"]
    if not releases.root.is_absolute() or releases.root == Path(releases.root.anchor):
        raise Failed(
            f"root: {releases.root} cannot hold releases; give a folder of their own, such as /opt/lae-monitor"
        )
    if (name is not None or state in {"installed", "current"}) and not NAME.fullmatch(name or ""):
        raise Failed(
            f"name: {name!r} is not the name of a release, such as 0.1.0-0123456789ab; make wheelhouse makes one"
        )
    if state == "query" or (state == "absent" and not releases.root.exists()):
        return {"changed": False}
    act_on = {
        "installed": install, "staged": stage, "current": make_current, "previous": go_back, "absent": remove_all,
    }[state]  # fmt: skip
    if module.check_mode:
        return act_on(module, releases, deployed, name or "")
    os.umask(0o022)  # services read it as another account
    with releases.locked():
        return act_on(module, releases, deployed, name or "")


def install(module: AnsibleModule, releases: Releases, _deployed: deployment.Deployed, name: str) -> dict[str, object]:
    there = releases.is_whole(name)
    if module.check_mode:
        return {"changed": not there}
    archive, sha256 = module.params["archive"], module.params["sha256"]
    result: dict[str, object] = {"changed": not there}
    if not there:
        if not archive or not sha256:
            raise Failed("archive and sha256 are needed to install a release")
        result["installer"] = releases.install(name, Path(archive), sha256, module.params["python"])
    if archive:
        Path(archive).unlink(missing_ok=True)
    return result


def stage(module: AnsibleModule, _releases: Releases, deployed: deployment.Deployed, _name: str) -> dict[str, object]:
    if not module.check_mode:
        deployed.stage()
    return {"changed": False}  # nothing is in force yet


def make_current(
    module: AnsibleModule, releases: Releases, deployed: deployment.Deployed, name: str
) -> dict[str, object]:
    if not releases.is_whole(name) and not module.check_mode:
        raise Failed(f"release {name} is not installed in {releases.folder}: state installed comes first")
    going = releases.superfluous(module.params["keep"], name)
    before, staged = releases.link("current"), deployed.next.read()
    changed = before != name or bool(staged and not module.check_mode and deployed.differs(staged))
    if not module.check_mode:
        if changed and staged:
            put_next(module, releases, deployed, staged, name)
        releases.switch(name)
        for old in going:
            releases.remove(old)
    return {"changed": changed or bool(going), "removed": going}


def put_next(
    module: AnsibleModule, releases: Releases, deployed: deployment.Deployed, staged: deployment.Files, name: str
) -> None:
    """Puts `staged` in force with release `name`.

    Raises:
        Failed: the release refuses it; nothing was changed.
    """
    before = releases.link("current")
    if problem := refusal(releases.path(name), staged, deployed.next.folders["config"]):
        on = f", and release {before} runs on" if before else ""
        raise Failed(
            f"release {name} refuses its configuration. Nothing was switched{on}. Correct this first: {problem}"
        )
    if releases.is_whole(before):
        deployed.keep(before)
        kept = deployed.kept(before)
        if before != name and (problem := refusal(releases.path(before), kept.read(), kept.folders["config"])):
            module.warn(f"going back will not work: release {before} refuses what it was run with: {problem}")
    deployed.put(staged, lambda: releases.switch(name), switches=before != name, forward=True)


def go_back(module: AnsibleModule, releases: Releases, deployed: deployment.Deployed, name: str) -> dict[str, object]:
    """With what the release last ran with; what is in force, if the roles that replaced it did not keep that."""
    current, name = releases.link("current"), name or releases.link("previous")
    if not releases.is_whole(name):
        raise Failed("there is no previous release to go back to")
    kept = deployed.kept(name)
    place = kept if (files := kept.read()) else deployed.live
    files = files or place.read()
    if problem := refusal(releases.path(name), files, place.folders["config"]):
        raise Failed(
            f"release {name} refuses the configuration that it was run with, so release {current} stays. Correct this in "
            f"{place.folders['config']} first: {problem}"
        )
    changed = current != name or deployed.differs(files)
    if changed and not module.check_mode:
        if current != name and releases.is_whole(current):
            deployed.keep(current)
        if files:
            deployed.put(files, lambda: releases.switch(name), switches=current != name, forward=False)
        releases.switch(name)
        deployment.Units(files).restart()
    return {"changed": changed}


def remove_all(
    module: AnsibleModule, releases: Releases, _deployed: deployment.Deployed, _name: str
) -> dict[str, object]:
    if not module.check_mode:
        releases.remove_all()
    return {"changed": True}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/lae-monitor"},
            "name": {"type": "str"},
            "state": {
                "type": "str",
                "default": "query",
                "choices": ["query", "installed", "staged", "current", "previous", "absent"],
            },
            "config": {"type": "path", "default": "/etc/lae-monitor"},
            "units": {"type": "path", "default": "/etc/systemd/system"},
            "archive": {"type": "path"},
            "sha256": {"type": "str"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "keep": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    releases = Releases(module.params["root"])
    deployed = deployment.Deployed(releases.root, Path(module.params["config"]), Path(module.params["units"]))
    try:
        result = act(module, releases, deployed)
        result["installed"] = releases.is_whole(module.params["name"] or "")
        result["releases"] = releases.whole()
        units = deployment.Units(deployed.live.read())
        result.update(units=units.all, parts=units.parts, states=units.states(), outdated=units.outdated(deployed.live))
    except (Failed, OSError, EOFError, tarfile.TarError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=f"lae_release: {error}", unfinished=deployed.unfinished.exists())
    module.exit_json(current=releases.link("current"), previous=releases.link("previous"), **result)


if __name__ == "__main__":
    main()

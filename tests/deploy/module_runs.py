"""Modules of ours as Ansible runs them, and imported for what is better looked at from within."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import ansible.module_utils

HOUSE = Path(__file__).parents[2]
MODULES = HOUSE / "plugins" / "modules"
UTILITIES = HOUSE / "plugins" / "module_utils"

MAIN = (
    "import sys; folder, name = sys.argv[1:]; del sys.argv[1:]; sys.path.insert(0, folder); "
    "from module_runs import imported; imported(name).main()"
)


class Told(NamedTuple):
    """What a module answered. `failed` has its sentence, "" when it did not fail."""

    changed: bool
    failed: str
    answer: dict


class Ansible:
    """Runs modules on this host; nothing of the caller's ansible counts, and its own files go to `folder`."""

    def __init__(self, folder: Path):
        folder.mkdir()
        (folder / "ansible.cfg").write_text("")
        caller = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        self.environment = {
            **caller,
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(MODULES),
            "ANSIBLE_MODULE_UTILS": str(UTILITIES),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def __call__(self, module: str, *, check: bool = False, umask: int = -1, environment=None, **arguments) -> Told:
        """The module in a process of its own, as Ansible starts it on a host: a tenth of the time of `ansible`."""
        options = {"_ansible_check_mode": check, "_ansible_remote_tmp": self.environment["ANSIBLE_REMOTE_TEMP"]}
        done = subprocess.run(
            [sys.executable, "-c", MAIN, Path(__file__).parent, module],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **options}}),
            env={**self.environment, **(environment or {})}, umask=umask,
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.stdout.startswith("\n{"), done.stdout + done.stderr
        answer = json.loads(done.stdout)
        return self._told(answer, failed=bool(answer.get("failed")), code=done.returncode)

    def by_ansible(self, module: str, *, check: bool = False, **arguments) -> Told:
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", module,
                "-a", json.dumps(arguments), "-e", f"ansible_python_interpreter={sys.executable}",
                *(["--check"] if check else []),
            ],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        head, brace, rest = done.stdout.partition("=> {")
        assert brace, done.stdout + done.stderr
        return self._told(json.loads("{" + rest), failed="FAILED" in head, code=done.returncode)

    def _told(self, answer: dict, *, failed: bool, code: int) -> Told:
        assert "Traceback" not in str(answer), answer
        assert failed == bool(code), answer
        return Told(bool(answer.get("changed")), answer["msg"] if failed else "", answer)


def imported(name: str):
    """A module, which finds what modules share where Ansible would put it."""
    if str(UTILITIES) not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(UTILITIES))
    spec = importlib.util.spec_from_file_location(name, MODULES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def everything_below(folder: Path) -> dict:
    """Every name below `folder`, with its mode, time of change and inode."""
    statuses = {path: path.lstat() for path in [folder, *folder.rglob("*")] if os.path.lexists(path)}
    return {str(path): (status.st_mode, status.st_mtime_ns, status.st_ino) for path, status in statuses.items()}

"""The unit tests pass on Debian 13 with its Python 3.13, in a tree of packages that debootstrap makes."""

import re
import shutil
import subprocess
import sys

import lab_apt
import pytest
from lab_places import CHECKOUT, LabError, cache
from lab_tree import ALONE

pytestmark = [pytest.mark.full, pytest.mark.root, pytest.mark.timeout(3600)]

SUITE = "trixie"
PYTHON = "3.13"
INCLUDED = "python3,python3-venv"
TOOLS = ("execnet", "hypothesis", "iniconfig", "pluggy", "pytest", "pytest-timeout", "pytest-xdist", "sortedcontainers")
UNITS = (
    "tests/core", "tests/config", "tests/archive", "tests/query/test_grammar_reads_what_it_writes.py",
    "tests/kinds/crashes/test_read_crashes.py", "tests/kinds/crashes/test_signature.py",
    "tests/kinds/incidents/test_reading_incidents_never_fails.py", "tests/kinds/sonar/test_sonar_reading_never_fails.py",
    "tests/kinds/sonar/test_sonar_reads_every_generation.py",
)  # fmt: skip
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


def run(*command, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=env)
    return done.returncode, done.stdout


def pins():
    """What lae-monitor needs, and pytest, as they are locked: versions and hashes."""
    runs = (CHECKOUT / "requirements/run.txt").read_text()
    tests = re.split(r"\n(?=\S)", (CHECKOUT / "requirements/test.txt").read_text())
    return "\n".join([runs, *(block for block in tests if block.startswith(tuple(f"{tool}==" for tool in TOOLS)))])


def wheels(folder):
    """For Python 3.13. Markers are compared with the Python that runs pip, so they are settled here."""
    from packaging.requirements import Requirement

    wanted = []
    for block in re.split(r"\n(?=[^\s#])", pins()):
        name, _, hashes = block.partition(" \\\n")
        requirement = Requirement(name.strip())
        if not requirement.marker or requirement.marker.evaluate(
            {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0"}
        ):
            requirement.marker = None
            wanted.append(f"{requirement} \\\n{hashes.strip()}\n")
    folder.mkdir(parents=True)
    (folder / "wanted.txt").write_text("".join(wanted))
    return run(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
        "--python-version", PYTHON, "--dest", str(folder), "-r", str(folder / "wanted.txt"),
    )  # fmt: skip


@pytest.fixture
def tree():
    if not shutil.which("debootstrap"):
        pytest.skip("DEBIAN 13 NOT TRIED: no debootstrap. Next: apt-get install debootstrap")
    try:
        source = lab_apt.source_of("bookworm")
    except LabError as error:
        pytest.skip(f"DEBIAN 13 NOT TRIED: {error}")
    folder = cache() / SUITE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    code, said = run(
        *ALONE, "debootstrap", "--variant=minbase", f"--keyring={source.keyring}", f"--include={INCLUDED}", SUITE,
        str(folder), source.uri, env={**ENVIRONMENT, **lab_apt.proxy()},
    )  # fmt: skip
    try:
        if code:
            pytest.skip(f"DEBIAN 13 NOT TRIED: debootstrap of {SUITE} failed with {code}: {said[-500:]}")
        yield folder
    finally:
        shutil.rmtree(folder)


def test_unit_tests_pass_on_debian_13(tree):
    code, said = wheels(tree / "wheels")
    assert code == 0, said[-2000:]
    (tree / "src").mkdir()
    run(
        "cp",
        "-r",
        *(str(CHECKOUT / name) for name in ("lae_monitor", "tests", "docs", "pyproject.toml")),
        str(tree / "src"),
    )
    script = (
        "set -e; mount -t proc proc /proc; mount -t tmpfs tmpfs /dev/shm; python3 -m venv /venv; /venv/bin/pip install --quiet --no-index --no-deps /wheels/*.whl; "
        f"/venv/bin/pip check; /venv/bin/python --version; cd /src; exec /venv/bin/python -m pytest -q -p no:cacheprovider {' '.join(UNITS)} "
        "-m 'not full and not kills and not soak'"
    )
    code, said = run(*ALONE, "chroot", str(tree), "/bin/sh", "-c", script, env=ENVIRONMENT)
    assert code == 0, said[-6000:]
    assert f"Python {PYTHON}." in said
    assert re.search(r"\b[1-9]\d{2,} passed", said), said[-2000:]

"""`make quick` runs the tests of what has changed since main, committed or not, and says what it leaves out."""

import subprocess
from pathlib import Path

import pytest
from quick import changed, chosen

HOUSE = Path(__file__).parent.parent


@pytest.fixture
def git(tmp_path):
    def run(*arguments):
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], check=True
        )

    run("init", "-q", "-b", "main")
    for name in ("moved.py", "same.py", "edited.py"):
        (tmp_path / name).write_text(name)
    run("add", ".")
    run("commit", "-q", "-m", "first")
    return run


def test_on_a_branch_it_is_what_differs_from_where_it_left_main(git, tmp_path):
    git("checkout", "-q", "-b", "work")
    git("mv", "moved.py", "there.py")
    git("commit", "-q", "-m", "committed")
    (tmp_path / "edited.py").write_text("other")
    (tmp_path / "new.py").touch()
    assert changed(tmp_path) == ["edited.py", "moved.py", "new.py", "there.py"]


def test_on_main_it_is_what_is_not_committed(git, tmp_path):
    assert changed(tmp_path) == []
    (tmp_path / "edited.py").write_text("other")
    assert changed(tmp_path) == ["edited.py"]


def test_what_main_did_since_is_not_ours(git, tmp_path):
    git("branch", "work")
    (tmp_path / "edited.py").write_text("main's")
    git("commit", "-q", "-a", "-m", "main's")
    git("checkout", "-q", "work")
    assert changed(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("lae_monitor/store/sqlite.py", ["tests/store"]),
        ("lae_monitor/kinds/sonar/read.py", ["tests/kinds/sonar"]),
        (
            "lae_monitor/kinds/receipts.py",
            ["tests/kinds/test_pace.py", "tests/kinds/test_receipts.py", "tests/kinds/toy"],
        ),
        ("tests/kinds/test_receipts.py", ["tests/kinds/test_receipts.py"]),
        ("lae_monitor/net/furls/door.py", ["tests/kinds/incidents/nodes", "tests/net"]),
        ("tests/kinds/crashes/cases/new.json", ["tests/kinds/crashes"]),
        ("tests/faults/conftest.py", ["tests/faults"]),
        ("roles/lae_common/tasks/main.yml", ["tests/deploy"]),
        ("tests/test_quick.py", ["tests/test_quick.py"]),
        ("docs/web.md", []),
    ],
)
def test_a_path_chooses_the_tests_of_its_folder(path, tests):
    docs = ["tests/docs"] if path.endswith(".md") else []
    assert chosen([path], HOUSE) == ([*tests, "tests/test_house.py", *docs], [])


def test_nothing_changed_runs_nothing():
    assert chosen([], HOUSE) == ([], [])


def test_what_is_left_out_is_said():
    tests, remarks = chosen(["tests/lab/lab.py", "lae_monitor/gone/x.py"], HOUSE)
    assert tests == ["tests/test_house.py"]
    assert "make test-lab" in remarks[0] and "tests/gone" in remarks[1]


def test_every_folder_of_the_program_has_tests():
    folders = [
        path.relative_to(HOUSE) for path in (HOUSE / "lae_monitor").iterdir() if (path / "__init__.py").is_file()
    ]
    _, remarks = chosen([f"{folder}/x.py" for folder in folders if folder.name != "gatherers"], HOUSE)
    assert remarks == []

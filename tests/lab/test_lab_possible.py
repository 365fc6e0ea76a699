"""Where there can be no lab, its tests are skipped, and the reason says what to do about it."""

import os

import lab
import lab_possible
import lab_wheels
import pytest
from lab_places import LabError


@pytest.fixture(autouse=True)
def as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_who_is_not_root_is_told_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "need root" in lab.obstacle()


def test_missing_programs_are_named_by_their_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in set(lab_possible.PROGRAMS) - {"podman", "nft"}:
        (tmp_path / program).touch(0o755)
    assert lab.obstacle().endswith("Next: apt-get install --no-install-recommends nftables podman")


def test_what_the_kernel_refuses_is_quoted(monkeypatch):
    monkeypatch.setattr(lab_possible, "PROGRAMS", {"sh": "dash"})
    monkeypatch.setattr(lab_possible, "TRIALS", {"the impossible": ("--user", "echo not here >&2; exit 1")})
    assert lab.obstacle().startswith("this machine does not allow the impossible: ")


def test_a_python_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setattr(lab_possible, "PROGRAMS", {})
    monkeypatch.setattr(lab_possible, "TRIALS", {})
    monkeypatch.setattr(lab_wheels, "PYTHON", (3, 9))
    assert "do not fit the lab's hosts, which have 3.9" in lab.obstacle()


def test_up_says_it_too(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="need root"):
        lab.Lab("unborn").up()

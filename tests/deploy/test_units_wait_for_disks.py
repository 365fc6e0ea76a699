"""Units start after the disks of their folders are mounted; with several roots, one that is missing keeps none from starting."""

import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"


@pytest.fixture
def unit():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLES / "lae_common/templates"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["combine"] = lambda one, other: {**one, **other}

    def lines(roots, **own):
        text = environment.get_template("unit.service.j2").render(
            ansible_managed="x", lae_common_root="/opt/lae-monitor", lae_common_part="serve", __lae_common_basis={},
            lae_common_state="/var/lib/lae-monitor", lae_common_archive_roots=roots, __lae_common_hardening={},
            __lae_common_archive=roots[0] if roots else "/var/lib/lae-monitor/archive", __lae_common_etc="/etc",
            __lae_common_program="p", __lae_common_config="c", lae_common_basis="x",
            lae_common_unit={"description": "d", "command": "serve", "memory": "1G", "hidden": [], **own},
        )  # fmt: skip
        section = text.partition("[Unit]")[2].partition("[Service]")[0]
        assert text.count("[Unit]\n") == 1
        return [line.split("=", 1) for line in section.splitlines() if "=" in line and line[0] != "#"]

    return lines


def values(lines, key):
    return [word for name, value in lines if name == key for word in value.split()]


def test_state_the_only_root_and_what_the_unit_needs_are_required(unit):
    for roots, root in (([], "/var/lib/lae-monitor/archive"), (["/srv/archive"], "/srv/archive")):
        lines = unit(roots, mounts=["/srv/store"])
        assert values(lines, "RequiresMountsFor") == ["/var/lib/lae-monitor", root, "/srv/store"]
        assert not [word for word in values(lines, "After") if word.endswith(".mount")]


def test_several_roots_are_waited_for_and_not_required(unit):
    lines = unit(["/srv/my-disk/archive", "/mnt/away/"])
    assert values(lines, "RequiresMountsFor") == ["/var/lib/lae-monitor"]
    mounts = [word for word in values(lines, "After") if word.endswith(".mount")]
    folders = ["/srv", "/srv/my-disk", "/srv/my-disk/archive", "/mnt", "/mnt/away"]
    if shutil.which("systemd-escape"):
        escaped = subprocess.run(
            ["systemd-escape", "--path", "--suffix=mount", *folders], capture_output=True, text=True, check=True
        )
        assert mounts == escaped.stdout.split()
    assert len(mounts) == len(folders)


def test_serve_needs_its_store_and_the_crashmover_its_destinations():
    monitor = yaml.safe_load((ROLES / "monitor/vars/main.yml").read_text())["__monitor_unit"]
    mover = yaml.safe_load((ROLES / "crash_collector/vars/main.yml").read_text())["__crash_collector_crashmover"]
    assert mover["mounts"] == mover["writable"]
    (store,) = monitor["mounts"]
    environment = jinja2.Environment()
    environment.filters["regex_replace"] = lambda text, _pattern, new: text.replace("chdb://", new, 1)
    for settings, folder in (
        ({}, "/var/lib/lae-monitor/store"),
        ({"store": {"memory": "1 GiB"}}, "/var/lib/lae-monitor/store"),
        ({"store": {"url": "chdb:///srv/store"}}, "/srv/store"),
    ):
        assert (
            environment.from_string(store).render(lae_common_settings=settings, lae_common_state="/var/lib/lae-monitor")
            == folder
        )

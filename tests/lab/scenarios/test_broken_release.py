"""A release that does not start is taken back within the run that brought it."""

import importlib.util
import json
import os
import re
import shutil
import zipfile

import pytest
from lab_places import CHECKOUT
from lab_site import LAE, UNITS, one_line


@pytest.fixture(scope="module")
def broken_release(release, tmp_path_factory):
    """A release whose `serve` cannot start, as nobody would make it on purpose."""
    spec = importlib.util.spec_from_file_location("wheelhouse", CHECKOUT / "requirements" / "wheelhouse.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    folder = tmp_path_factory.mktemp("broken")
    wheels = folder / "wheelhouse"
    shutil.copytree(release / "wheelhouse", wheels, copy_function=os.link)
    (own,) = wheels.glob("lae_monitor-*.whl")
    with zipfile.ZipFile(own) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    files["lae_monitor/service/serve.py"] += b"\nraise RuntimeError('broken on purpose')\n"
    own.unlink()
    with zipfile.ZipFile(own, "w") as broken:
        for name, data in files.items():
            broken.writestr(name, data)
    requirements = wheels / "requirements.txt"
    text = re.sub(r"(lae-monitor==\S+ --hash=sha256:)\S+", rf"\g<1>{maker._digest(own)}", requirements.read_text())
    requirements.unlink()  # a link to the other's
    requirements.write_text(text)
    (folder / "release.json").write_text(json.dumps(maker.pack(wheels, folder)))
    return folder


def test_a_release_that_does_not_start_is_taken_back_by_itself(deployed, broken_release):
    monitor, current = deployed.monitor, ["readlink", "/opt/lae-monitor/current"]
    before = monitor.exec(current).stdout
    run = deployed.play("monitor", "-e", f"lae_common_release_folder={broken_release}")
    assert run.code != 0
    assert "is current again, and runs." in one_line(run.said), run.said[-5000:]
    assert "broken on purpose" in run.said, "the journal is shown"
    assert monitor.exec(current).stdout == before
    assert monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0
    again = deployed.play("monitor", "-e", f"lae_common_release_folder={broken_release}")
    assert again.code != 0, "no better the second time"
    assert monitor.exec(current).stdout == before
    deployed.play("monitor").fine()
    assert monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0
    assert deployed.play("monitor").changed() == {"monitor1": 0}

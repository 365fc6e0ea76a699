import importlib.util
import json
import os
import re
import shutil
import zipfile

import pytest
from lab_places import CHECKOUT


@pytest.fixture(scope="session")
def broken_release(release, tmp_path_factory):
    """Makes a release of which one process cannot start, as nobody would make it on purpose; returns its folder."""
    spec = importlib.util.spec_from_file_location("wheelhouse", CHECKOUT / "requirements" / "wheelhouse.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)

    def make(file, word):
        """`file` cannot be loaded by the process whose command has `word`."""
        folder = tmp_path_factory.mktemp("broken")
        wheels = folder / "wheelhouse"
        shutil.copytree(release / "wheelhouse", wheels, copy_function=os.link)
        (own,) = wheels.glob("lae_monitor-*.whl")
        with zipfile.ZipFile(own) as whole:
            files = {name: whole.read(name) for name in whole.namelist()}
        files[file] += f"\nimport sys\nif {word!r} in sys.argv:\n    raise RuntimeError('broken on purpose')\n".encode()
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

    return make

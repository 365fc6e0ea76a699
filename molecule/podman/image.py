#!/usr/bin/env python3
"""Brings the image of the lab's hosts into podman's own store, unless it is there; makes it first, where nobody did."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "lab"))

import lab_image
from lab_tree import REFERENCE

# The lab's store was renamed when it was whole, which podman minds, except in a store that another one refers to.
STORAGE = """[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
[storage.options]
additionalimagestores = ["{images}"]
"""


def bring(images: Path) -> None:
    """Copies the image out of the store of the lab's images."""
    with tempfile.TemporaryDirectory() as folder:
        archive, configuration = f"{folder}/image.tar", Path(folder, "storage.conf")
        configuration.write_text(STORAGE.format(folder=folder, images=images))
        # Alone, since podman leaves its storage mounted on itself.
        save = ["unshare", "--mount", "podman", "save", "--quiet", "--output", archive, REFERENCE]
        subprocess.run(save, env={**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration)}, check=True)
        subprocess.run(["podman", "load", "--quiet", "--input", archive], check=True)


def main() -> None:
    if subprocess.run(["podman", "image", "exists", REFERENCE], check=False).returncode:
        bring(lab_image.storage_of(lab_image.ensure()))


if __name__ == "__main__":
    main()

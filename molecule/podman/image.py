#!/usr/bin/env python3
"""Brings the image of the lab's hosts into podman's own store, unless it is there; makes it first, where nobody did."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "lab"))

import lab_image
from lab_tree import REFERENCE


def podman(*words: str) -> list[str]:
    return ["podman", *words]


def bring(store: Path) -> None:
    """Copies the image out of the store of the lab's images."""
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/image.tar"
        other = ("--root", str(store), "--runroot", f"{folder}/run", "--storage-driver", "overlay")
        # Alone, since podman leaves its storage mounted on itself.
        subprocess.run(
            ["unshare", "--mount", *podman(*other, "save", "--quiet", "--output", archive, REFERENCE)], check=True
        )
        subprocess.run(podman("load", "--quiet", "--input", archive), check=True)


def main() -> None:
    if subprocess.run(podman("image", "exists", REFERENCE), check=False).returncode:
        bring(lab_image.storage_of(lab_image.ensure()))


if __name__ == "__main__":
    main()

"""Makes a release for hosts without a network: every wheel that lae-monitor needs, in one file, named by what is in it.

    dist/lae-monitor-<version>-<hash>-<tag>.tar     wheelhouse/*.whl and wheelhouse/requirements.txt
    dist/release.json                               what the roles need to know of it

The hash is that of the wheels, so the same wheels make the same name, and a host that has them installs nothing. Wheels
fit one Python and one kind of machine: the tag says which, and preflight compares it with the host.

    python requirements/wheelhouse.py [--folder dist]
"""

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
LOCK = HOUSE / "requirements" / "run.txt"
INSTALLER = HOUSE / "requirements" / "install.txt"  # uv, which installs in seconds what takes pip half a minute
EPOCH = 315532800  # 1980-01-01: the time of every file in the archive, so that it is the same each time


def pip(*arguments: str) -> None:
    """Runs pip of this Python; its errors are ours."""
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def tag() -> str:
    """`cp311-linux_x86_64`: the Python and the kind of machine that the wheels are for."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{python}-{platform.system().lower()}_{platform.machine()}"


def gather(folder: Path) -> None:
    """Our own wheel, and those that requirements/run.txt pins, into `folder`, which holds nothing else."""
    wanted = {"wheelhouse": hashlib.sha256(LOCK.read_bytes() + INSTALLER.read_bytes() + tag().encode()).hexdigest()}
    stamp = folder.with_suffix(".json")
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:  # what we pin is fetched once
        shutil.rmtree(folder, ignore_errors=True)
        stamp.unlink(missing_ok=True)
        for lock in (LOCK, INSTALLER):
            pip(
                "download",
                "--quiet",
                "--no-deps",  # the lock has them all: see the Makefile
                "--require-hashes",
                "--only-binary",
                ":all:",
                "--dest",
                str(folder),
                "-r",
                str(lock),
            )
        stamp.write_text(json.dumps(wanted))
    for old in folder.glob("lae_monitor-*.whl"):
        old.unlink()
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(HOUSE))
    (own,) = folder.glob("lae_monitor-*.whl")
    ours = f"lae-monitor=={own.name.split('-')[1]} --hash=sha256:{_digest(own)}\n"
    (folder / "requirements.txt").write_text(LOCK.read_text() + ours)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(wheels: Path, folder: Path) -> dict[str, str]:
    """One archive of `wheels`; returns what release.json says."""
    names = sorted(wheels.iterdir())
    (own,) = wheels.glob("lae_monitor-*.whl")
    version = own.name.split("-")[1]
    content = hashlib.sha256("".join(f"{path.name} {_digest(path)}\n" for path in names).encode()).hexdigest()
    release = f"{version}-{content[:12]}"
    archive = folder / f"lae-monitor-{release}-{tag()}.tar"
    for old in folder.glob("lae-monitor-*.tar"):
        if old != archive:
            old.unlink()
    with tarfile.open(archive, "w") as tar:  # wheels are compressed already
        for path in names:
            info = tar.gettarinfo(path, f"wheelhouse/{path.name}")
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mtime, info.mode = EPOCH, 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
    return {"version": version, "release": release, "tag": tag(), "archive": archive.name, "sha256": _digest(archive)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HOUSE / "dist", help="where the archive goes (default: dist)")
    folder = parser.parse_args().folder
    wheels = folder / "wheelhouse"
    folder.mkdir(parents=True, exist_ok=True)
    gather(wheels)
    about = pack(wheels, folder)
    (folder / "release.json").write_text(json.dumps(about, indent=1) + "\n")
    size = (folder / about["archive"]).stat().st_size / 1024**2
    print(f"{folder / about['archive']}: {len(list(wheels.glob('*.whl')))} wheels, {size:.0f} MiB")
    print("Next: ansible-playbook playbooks/site.yml")


if __name__ == "__main__":
    main()

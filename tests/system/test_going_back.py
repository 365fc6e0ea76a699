"""The release before this one, on what this one wrote, and forward again."""

import subprocess


def test_both_releases_are_what_they_say(previous_release, this_release):
    where = "import lae_monitor; print(lae_monitor.__file__)"
    for release in (previous_release, this_release):
        done = subprocess.run([release.python, "-P", "-c", where], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{release.folder}/lib/")
        subprocess.run([release.program, "--version"], check=True, capture_output=True)

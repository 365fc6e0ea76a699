"""A short look for answers that our own decoder and Foolscap's see differently; what was found once is in tests/kinds/incidents/answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from answer_inputs import STREAMS, changed, one_input, seeds

HERE = Path(__file__).parent
SECONDS = 8  # for the short look
PATIENCE = 200.0


def test_the_seeds_are_fine_and_of_every_kind(tmp_path):
    seeds(tmp_path)
    inputs = [path.read_bytes() for path in tmp_path.iterdir()]
    assert {data[0] for data in inputs} == set(range(len(STREAMS)))
    assert {data[4] for data in inputs} == set(range(4))
    for data in inputs:
        assert changed(data)
        one_input(data)


def test_a_short_look_finds_no_answer_that_the_two_see_differently(tmp_path):
    pytest.importorskip("atheris", reason="NOT TESTED: fuzzing; atheris has no wheel for this Python or machine")
    command = [sys.executable, HERE / "answers.py", f"-artifact_prefix={tmp_path}/found-", f"-max_total_time={SECONDS}"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    said = (done.stdout + done.stderr)[-4000:]
    found = [path.read_bytes() for path in tmp_path.glob("found-*")]
    assert not found, (
        f"\n{said}\nWhat is wrong belongs among CHANGES in tests/kinds/incidents/answers/test_fast_answers.py:\n{found}"
    )
    assert done.returncode == 0, said
    assert "Done " in said, said

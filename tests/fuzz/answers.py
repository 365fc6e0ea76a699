"""What a node can answer, as atheris finds it: python tests/fuzz/answers.py [FOLDER] [-options]

FOLDER keeps what was found to lead somewhere new, so that the next run goes on from there. Options are those of libFuzzer.
What an input means is in answer_inputs.py.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

try:
    import atheris
except ImportError as error:
    print(f"NOT FUZZED: {error}; atheris has wheels for some Pythons and machines only, see pyproject.toml")
    sys.exit(0)

# What is looked into: the branches of both decoders. All the rest would only make it slow.
with atheris.instrument_imports(
    include=[
        "lae_monitor.kinds.incidents.answers",
        "lae_monitor.net",
        "foolscap.banana",
        "foolscap.slicer",
        "foolscap.slicers",
    ]
):
    import_module("lae_monitor.kinds.incidents.answers.broker")
    import answer_inputs

MAX_LENGTH = 64  # bytes of an input: what is put into a stream, which itself is longer


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        answer_inputs.seeds(Path(folder))
        given = sys.argv[1:]
        options = [f"-max_len={MAX_LENGTH}", "-timeout=20", *given]
        atheris.Setup([sys.argv[0], *options, folder], answer_inputs.one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

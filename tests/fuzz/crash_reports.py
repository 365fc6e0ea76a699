"""What anybody can send to the crash collector, as atheris finds it: python tests/fuzz/crash_reports.py [FOLDER] [-options]

FOLDER keeps what was found to lead somewhere new, so that the next run goes on from there. Options are those of libFuzzer.
What an input means is in crash_inputs.py.
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

# What is looked into: the branches of what reads reports. All the rest would only make it slow.
with atheris.instrument_imports(include=["lae_monitor.kinds.crashes", "multipart", "siggen"]):
    import_module("siggen.generator")  # the reader itself imports it only when there is something to read
    import crash_inputs

DICTIONARY = Path(__file__).with_name("crash_reports.dict")
MAX_LENGTH = 4096  # bytes of an input: every branch can be reached with less


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        crash_inputs.seeds(Path(folder))
        given = sys.argv[1:]
        options = [f"-dict={DICTIONARY}", f"-max_len={MAX_LENGTH}", "-timeout=20", *given]
        atheris.Setup([sys.argv[0], *options, folder], crash_inputs.one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

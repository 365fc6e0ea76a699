"""The incident gatherers of tests/gatherers/incidents, for tests of faults."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "gatherers" / "incidents"

sys.path.insert(0, str(FOLDER))
_spec = spec_from_file_location("incident_gatherers_of_tests", FOLDER / "conftest.py")
_module = module_from_spec(_spec)
_spec.loader.exec_module(_module)

gatherer_in, await_that, Process = _module.gatherer_in, _module.await_that, _module.Process

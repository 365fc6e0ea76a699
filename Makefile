# Everything sets itself up: a fresh Debian or Ubuntu with python3 >= 3.11 (and root for its packages) is enough.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
# Tests start thousands of programs of ours: each would compile all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
# Tests wait half of their time, for a process or a clock: so two workers more than there are cores.
JOBS ?= $(shell echo $$(($$(nproc) + 2)))
SETUP := $(VENV)/.setup
FUZZ := .cache/fuzz
FUZZ_SECONDS ?= 300

.PHONY: help run quick test test-all test-lab check bench bench-deploy fuzz soak setup docs lab wheelhouse lock clean

help: ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

run: $(SETUP)-run ## run the whole monitor on loopback, with a pretend fleet that reports into it; Ctrl-C stops it
	@exec $(VENV)/bin/lae-monitor demo $(ARGS)

PYTEST := $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 20

# What `check` has run already, and the first five minutes, which take two: `make test` has them.
QUICK := -m 'not full and not kills and not soak' -k 'not (imports_go_down_only or ruff_has or everything_is_formatted or every_type_is_right or first_five_minutes)'

quick: check ## style, types, imports, and the tests of the folders that changed since main; under 2 minutes for a folder
	@tests=$$($(PY) tests/quick.py) && { test -z "$$tests" || $(PY) -m pytest -q -n $(JOBS) --dist loadfile $(QUICK) $$tests $(ARGS); }

test: $(SETUP)-test ## run the tests, about 15 minutes on 2 cores; ARGS='...' goes to pytest
	$(PYTEST) $(ARGS)

test-all: $(SETUP)-test ## run the long ones too: every failure scenario on real hosts, molecule, more random examples
	HYPOTHESIS_PROFILE=full LAE_KILLS=60 LAE_KILLS_ARCHIVE=1000 $(PYTEST) -m 'not soak' --timeout 900 $(ARGS)

test-lab: $(SETUP)-test ## only the tests on real hosts, the long ones too: playbooks, failures, molecule
	$(PY) -m pytest -m 'not soak' --durations 20 tests/lab $(ARGS)

check: $(SETUP)-test ## style, types, and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(SETUP)-test ## measure; prints a table and writes bench/results.json
	$(PY) -m bench $(ARGS)

bench-deploy: $(SETUP)-test ## deploy three real hosts, again and again; prints how long each run takes
	$(PY) -m bench deploy $(ARGS)

fuzz: $(SETUP)-test ## look for input that breaks us: hypothesis for long, and atheris beside it for FUZZ_SECONDS
	@mkdir -p $(FUZZ)/crash_reports $(FUZZ)/answers
	@for target in crash_reports answers; do \
		$(PY) tests/fuzz/$$target.py $(FUZZ)/$$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$(FUZZ)/found-$$target- >$(FUZZ)/$$target.log 2>&1 & \
		eval "$$target=$$!"; \
	done; \
	HYPOTHESIS_PROFILE=fuzz $(PY) -m pytest -m 'not soak' -k 'hypothesis or fuzz or hostile' --timeout 3600 $(ARGS); hypothesis=$$?; \
	wait $$crash_reports; first=$$?; wait $$answers; second=$$?; atheris=$$((first | second)); \
	grep -aE 'NOT FUZZED|DONE|^(Done|stat::)|ERROR|Error|Test unit' $(FUZZ)/crash_reports.log $(FUZZ)/answers.log; \
	test $$atheris -eq 0 || echo "atheris: the logs in $(FUZZ) say what broke; next: pin the input in tests/fuzz/test_fuzz.py or test_fuzz_answers.py"; \
	exit $$((atheris ? atheris : hypothesis))

soak: $(SETUP)-test ## the tests that kill, 1,000 times each, and all that take hours
	HYPOTHESIS_PROFILE=full LAE_KILLS_ARCHIVE=10000 LAE_KILLS=1000 LAE_CUTS=500 $(PY) -m pytest -m 'kills or soak' --durations 20 --timeout 36000 $(ARGS)

setup: $(SETUP)-test ## make .venv with all that running and testing need

docs: $(SETUP)-test ## check that the documentation tells the truth
	$(PY) -m pytest tests/docs $(ARGS)

lab: $(SETUP)-test ## three real hosts on this machine, to deploy to; ARGS='down' removes them
	@$(PY) requirements/wheelhouse.py 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(PY) tests/lab $(or $(ARGS),up)

wheelhouse: $(SETUP)-run ## a release for hosts without a network: one file in dist/, which the playbooks install
	@$(PY) requirements/wheelhouse.py 2>&1 | { grep -v '^WARNING: Location' || true; }

lock: ## resolve the requirements anew (needs uv); no index host is written
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links requirements/build.in -o requirements/build.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links requirements/install.in -o requirements/install.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra test -c requirements/run.txt pyproject.toml -o requirements/test.txt

clean: ## remove what was set up and built
	rm -rf $(VENV) .cache dist

$(SETUP)-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lae-monitor needs Python 3.11 or newer; this is $$($(PYTHON) --version). Next: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tests/debian.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	@touch $@

# A lock has all there is, so nothing is resolved: of a package that another one wants with an extra (`autobahn[twisted]`), pip
# would take the newest there is, and refuse it, for the lock pins the package without the extra.
$(SETUP)-run: $(SETUP)-venv requirements/run.txt requirements/build.txt pyproject.toml
	@echo "Installing what lae-monitor needs (once; about a minute)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/run.txt 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(VENV)/bin/lae-monitor --version >/dev/null
	@touch $@

$(SETUP)-test: $(SETUP)-run requirements/test.txt tests/debian.txt
	@sh tests/debian.sh $$(sed 's/#.*//' tests/debian.txt)
	@sh tests/crashpad.sh
	@echo "Installing what the tests need (once; about a minute)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/test.txt 2>&1 | { grep -v '^WARNING: Location' || true; }
	@touch $@

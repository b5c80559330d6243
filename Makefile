# OMC and its reference codec.  `make demo` and `make test` need python3 (3.11 or newer) and PyPI, nothing else.
#
#   make demo [MODEL=file]   code the bundled pair of models (or a file of yours), decode it, verify every bit
#   make test                the tests, but for the long ones (some minutes on two cores)
#   make test-all            the tests and the long ones, which CI runs (at most 25 minutes on two cores)
#   make check               ruff, mypy and the floors of the package (tools/floors.py): seconds, before each commit
#   make soak                the tests that take hours
#   make fuzz                a million damaged streams over the C decoder, a hundred thousand over Python's (an hour)
#   make mutation            faults put into the decoder one by one: which of them the suite sees (hours)
#   make bench               OMC beside its peers, in environments of their own (about an hour)
#   make bench-answers       what networks still answer after coding with loss, and what that costs (an hour; QUICK=1)
#   make bench-speed         speed beside the fast codecs on large files, and the figures to reach (two hours; QUICK=1:
#                            minutes; SEED=7: other generated files)
#   make systems             every coding system on one table: size, error, speed, verified; writes docs/systems.md
#   make docs                the site of SPEC.md, docs and the API, in build/site
#   make experiments         the experiments of the source papers, again, and their report (hours; trains networks)
#   make conformance         make the conformance suite anew, byte for byte, and run the reference decoder against it
#   make models              fetch the published models that the benchmark uses
#   make big-models          the files of 200 MB to 1 GB that speed is measured on (fetches 500 MB, makes 4 GB)
#   make clean               remove what these commands made
#
# PYTHON=... names another interpreter, THREADS=... the threads of the demo, WORKERS=... the processes of the tests
# (0: none but pytest itself, for a debugger), TESTS=... what pytest is told: TESTS='tests/encoder -k sets'.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all check soak fuzz mutation bench bench-answers bench-speed systems docs experiments conformance models big-models clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(shell pwd | cksum | cut -d ' ' -f 1)
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
MODEL ?=
THREADS ?=
QUICK ?=
SEED ?=
TESTS ?=
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null | awk '{print ($$1 < 4) ? $$1 : 4}')
# One worker runs a file from its beginning to its end: what a file sets up is set up once, and servers do not meet.
PYTEST = $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile
MODELS ?= models
TRANSFORMER := $(MODELS)/transformer/step_032.fp32.safetensors
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(READY)
	@$(BIN)/python tools/demo.py $(if $(THREADS),--threads '$(THREADS)') $(if $(MODEL),'$(MODEL)')

test: $(READY)
	@$(PYTEST) -m "not soak and not long" $(TESTS)

test-all: $(READY)
	@$(PYTEST) -m "not soak" $(TESTS)

check: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/python tools/floors.py

soak: $(READY)
	@$(BIN)/python -m pytest -m soak $(TESTS)

fuzz: $(READY)
	@$(BIN)/python -m tools.fuzz

mutation: $(READY)
	@$(BIN)/python -m pip install --quiet --editable '.[mutation]'
	@$(BIN)/python -m tools.mutation_study --json build/mutation.json
	@$(BIN)/python -m tools.mutants.mechanical

bench: $(READY) models $(TRANSFORMER)
	@$(BIN)/python tools/bench_peers.py --models $(MODELS)

bench-answers: $(READY)
	@$(BIN)/python tools/bench_answers.py --models $(MODELS)/answers $(if $(QUICK),--quick)

bench-speed: $(READY) models
	@$(BIN)/python tools/bench_speed.py --models $(MODELS) $(if $(QUICK),--quick) $(if $(SEED),--seed '$(SEED)')

systems: $(READY)
	@$(BIN)/python tools/coding_systems.py --into docs/systems.md

docs: $(READY)
	@$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -c docs/site . build/site
	@echo "build/site/index.html"

experiments: $(READY) models
	@$(BIN)/python -m pip install --quiet --editable '.[experiments]'
	@$(BIN)/python tools/experiments/run_all.py --models $(MODELS)

conformance: $(READY)
	@$(BIN)/python -m conformance.recipes
	@$(BIN)/refcodec check --decoder "$(BIN)/refcodec conformance-decode" --persistent

models: $(READY)
	@$(BIN)/python tools/fetch_models.py --out $(MODELS)

big-models: $(READY)
	@$(BIN)/python tools/big_models.py --out $(MODELS)/big

# Trained once, for the benchmark of updates, in an environment with torch.
$(TRANSFORMER):
	@echo "training a transformer for the benchmark of updates (once)"
	@test -x .bench/env-training/bin/python || $(PYTHON) -m venv .bench/env-training
	@.bench/env-training/bin/python -m pip install --quiet --editable '.[training]'
	@.bench/env-training/bin/python tools/train_transformer.py --out $(dir $@)

# The environment is brought up to date when pyproject.toml changes or the folder was moved (the stamp carries its
# name), and made again when its interpreter is too old or does not run.
$(READY): pyproject.toml
	@$(PYTHON) -c '$(RECENT)' 2>/dev/null || { \
	    echo "OMC needs Python 3.11 or newer, '$(PYTHON)' is not: $$($(PYTHON) -V 2>&1 | head -n 1)" >&2; \
	    echo "name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -c 'import pip; $(RECENT)' 2>/dev/null || { \
	    echo "making the environment $(VENV) ($$($(PYTHON) -V))"; $(PYTHON) -m venv --clear $(VENV); } || { \
	    echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing refcodec and what it needs from PyPI (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --editable '.[test,check]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .bench
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

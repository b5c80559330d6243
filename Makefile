# OMC and its reference codec.  `make demo` and `make test` need python3 (3.11 or newer) and PyPI, nothing else.
#
#   make demo [MODEL=file]   code the bundled pair of models (or a file of yours), decode it, verify every bit
#   make test                the tests
#   make soak                the long tests (hours)
#   make bench               OMC beside its peers, in environments of their own (about an hour)
#   make models              fetch the published models that the benchmark uses
#   make clean               remove what these commands made
#
# PYTHON=... names another interpreter, THREADS=... the threads of the demo.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test soak bench models clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
MODEL ?=
THREADS ?=
MODELS ?= models
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(READY)
	@$(BIN)/python tools/demo.py $(if $(THREADS),--threads '$(THREADS)') $(if $(MODEL),'$(MODEL)')

test: $(READY)
	@$(BIN)/python -m pytest -m "not soak"

soak: $(READY)
	@$(BIN)/python -m pytest -m soak

bench: $(READY) models
	@$(BIN)/python tools/bench_peers.py

models: $(READY)
	@$(BIN)/python tools/fetch_models.py --out $(MODELS)

# The environment is made again when pyproject.toml changes, or when the interpreter that made it is gone.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "OMC needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
	         "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    echo "making the environment $(VENV) ($$($(PYTHON) -V))"; $(PYTHON) -m venv --clear $(VENV); } || { \
	    echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing refcodec and what it needs from PyPI (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .hypothesis .bench
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

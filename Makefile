# make setup | try | train | libero | test | test-slow | test-long | fuzz | lint | format | smoke |
#      doctor | clean
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
PY := .venv/bin/python
# Two processes with one thread each: two pools of threads on the same cores take a tenth longer. A
# process that dies ends the tests: pytest-xdist 3.8 would hang after it (with --dist loadfile).
ALONE := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE LP_NUM_THREADS=1
PYTEST := $(ALONE) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0
ARGS ?=

.PHONY: setup try train libero test test-slow test-long fuzz lint format smoke doctor clean

setup: .venv/.installed

# uv, which takes half of pip's time, is fetched where it does not exist. It does not read pip's
# configuration: where it finds no package index, pip may. The pins are plain name==version lines.
# Both compile what they install, for where Python may not write bytecode, unless PIP_COMPILE=0.
define install
	@PATH="$$PATH:$$PWD/.venv/bin"; \
	what=(--constraint .ci/constraints.txt --editable '.[$(1)]'); \
	command -v uv >/dev/null || $(PY) -m pip install -qq --constraint .ci/constraints.txt uv || true; \
	uv pip install --python $(PY) $(if $(filter 0,$(PIP_COMPILE)),,--compile-bytecode) "$${what[@]}" || { \
	  echo "uv could not; now with pip (torch is large: this takes a few minutes)" >&2; \
	  $(PY) -m pip install -qq "$${what[@]}"; }
endef

.venv/.installed: pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "PARA needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Try: make setup PYTHON=python3.11" >&2; exit 2; }
	@if command -v uv >/dev/null; then uv venv --quiet --seed --allow-existing --python $(PYTHON) .venv; \
	else $(PYTHON) -m venv .venv; fi
	$(call install,dev)
	@touch $@

# A policy that comes with the code, on 8 held-out starts and 8 of its training distribution.
try: setup
	$(PY) scripts/eval.py policy=para_lr episodes=8 $(ARGS)

# The main job: demos are generated on the way, PARA is trained, then evaluated.
train: setup
	$(PY) scripts/train.py model=para $(ARGS)
	$(PY) scripts/eval.py model=para $(ARGS)

# LIBERO: its package (1.5 GB), and its scripted expert on starts that no demo has.
libero: setup
	$(call install,libero)
	$(PY) scripts/eval.py task=libero_spatial_0 split=libero_id model=expert tests=[ood] episodes=5 $(ARGS)

# What takes longest is left out: ten minutes of two threads of one core, less of two cores. CI runs
# all but the long ones at once, which are then collected once: make test MARKS="not long".
MARKS ?= not slow and not long
test: setup
	$(PYTEST) -m "$(MARKS)" $(ARGS)

# The pipeline by its scripts, figures, simulators, clusters, browsers. CI runs these, too.
test-slow: setup
	$(PYTEST) -m "slow and not long" $(ARGS)

# What repeats at length, or at true size, what the others do once: before a release, and by those
# who change what it is about.
test-long: setup
	$(PYTEST) -m long $(ARGS)

# 500 random command lines per script (the suite takes 60).
fuzz: setup
	PARA_FUZZ=500 $(PYTEST) tests/test_cli_fuzz.py $(ARGS)

lint: setup
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	.venv/bin/lint-imports

format: setup
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

# The whole pipeline on tiny settings: generate, train, evaluate in under a minute.
smoke: setup
	$(PY) scripts/train.py model=para profile=smoke $(ARGS)
	$(PY) scripts/eval.py model=para profile=smoke $(ARGS)

doctor: setup
	$(PY) scripts/doctor.py

# What was made with the code (data/, runs/, outputs/ with the results) stays.
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

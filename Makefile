# A newcomer needs two commands: `make demo` and `make test`. Both first install requirements.lock into .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
BENCHMARKS := phantom_findings reading_speed training_speed sampling_speed copy_search memory_growth serving_speed interval_coverage seed_quantiles

.PHONY: help install demo check test test-cluster bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(STAMP)  ## install the locked packages into .venv

# uv is locked, too: pip checks its hash, and uv installs the other packages in parallel.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { echo "Python 3.11 to 3.14 is needed; set PYTHON=python3.x" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@awk '/^uv==/ {found=1} found {print} found && !/\\$$/ {exit}' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## run the whole loop on procedural phantoms: 2 cores, no data, no GPU
	$(BIN)/synfundus demo

check: $(STAMP)  ## check format, lint, types, layers and the chart
	@test ! -e platform/__init__.py || { echo "platform/__init__.py shadows the standard library; remove it" >&2; exit 1; }
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python helm/check.py

# Two processes of one thread each. With OMP_WAIT_POLICY=passive a waiting thread leaves its core to the others.
test: check  ## run check, and all tests of one machine
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --ignore=tests/cluster -n 2 --dist loadfile --no-loadscope-reorder

test-cluster: $(STAMP)  ## run a study in real pods, on the cluster of KUBECONFIG with the image SYNFUNDUS_TEST_IMAGE
	$(BIN)/python -m pytest -x tests/cluster

bench: $(STAMP)  ## run the benchmarks; each prints a table and writes it to tests/benchmarks/results
	for name in $(BENCHMARKS); do PYTHONPATH=tests $(BIN)/python tests/benchmarks/$$name.py || exit 1; done
	@test -z "$$SYNFUNDUS_REAL_DATA" || $(BIN)/python tests/benchmarks/prepare_speed.py "$$SYNFUNDUS_REAL_DATA"
	@test -z "$$SYNFUNDUS_REAL_DATA" || PYTHONPATH=tests $(BIN)/python tests/benchmarks/altered_copies.py

lock: $(STAMP)  ## write requirements.lock anew from the ranges in pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml -o requirements.lock

clean:  ## remove .venv; studies and outputs stay
	rm -rf .venv

# `make demo` and `make test` set up what they need in .venv; nothing outside this folder is changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test check unit contract bench package clean

setup: $(READY)

$(READY): pyproject.toml kernel_ext/build_statistics.py kernel_ext/gradwatch/capture/statistics_kernel.c
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

demo: setup
	$(BIN)/gradwatch demo

test: setup check unit

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: setup
	$(BIN)/python -m pytest

# Regenerates what follows from records.py: the TypeScript types and the golden sessions.
contract: setup
	$(BIN)/python kernel_ext/generate_typescript.py
	$(BIN)/python tests/make_golden.py

bench: setup
	$(BIN)/python tests/bench/bench_recorder.py
	$(BIN)/python tests/bench/bench_statistics.py

package: setup
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist

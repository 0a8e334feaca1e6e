# `make demo` and `make test` set up what they need in .venv, vscode-extension/node_modules and build/workbench. Outside
# of this folder nothing is changed, but for system packages, where apt and root are at hand (tests/e2e/setup_workbench.sh).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LIBRARIES := vscode-extension/node_modules/.ready
SETUP_WORKBENCH := tests/e2e/setup_workbench.sh

# Node 24, once it is installed for the end-to-end tests; until then the machine's.
export PATH := $(CURDIR)/build/workbench/node/node_modules/.bin:$(PATH)

.PHONY: setup demo test test-full check unit answers bench-zoo extension widget page fuzz workbench e2e notebook-e2e contract bench bench-peers bench-long wheel vsix package clean

setup: $(READY)

$(READY): pyproject.toml kernel_ext/build_statistics.py kernel_ext/gradwatch/capture/statistics_kernel.c
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

$(LIBRARIES): vscode-extension/package-lock.json
	$(SETUP_WORKBENCH) node
	cd vscode-extension && npm ci --no-audit --no-fund
	touch $@

demo: setup
	$(BIN)/gradwatch demo

# What this machine cannot run is left out, and named in the last line; where CI is set that is a failure.
test: setup check unit fuzz
	MAKE="$(MAKE)" tests/test_extension.sh

# Also every sample of every operator and module of torch's databases.
test-full: test
	$(BIN)/python -m pytest -m full

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# In two processes: half of the time where there are two cores.
unit: setup
	$(BIN)/python tests/run_in_two.py

extension: $(LIBRARIES)
	cd vscode-extension && npx tsc --noEmit -p . && npx tsc --noEmit -p ../tests/e2e && npx tsc --noEmit -p ../tests/e2e_notebook
	cd vscode-extension && npx vitest run

# The notebook's page, into kernel_ext/gradwatch/static: a wheel needs it.
widget: $(LIBRARIES)
	cd vscode-extension && node build_notebook.mjs

# The page of `gradwatch export --to html`, as above.
page: $(LIBRARIES)
	cd vscode-extension && node build_page.mjs

# Changed session files against the readers: never a crash, a hang, or 512 MB. The extension's half runs in vitest.
# First the same cases everywhere, then as many as a fourth of them where atheris leads to.
CASES ?= 2000
fuzz: setup
	$(BIN)/python tests/fuzz/run.py --cases $(CASES) --unguided
	$(BIN)/python tests/fuzz/run.py --cases $$(($(CASES) / 4))

workbench:
	$(SETUP_WORKBENCH)

# In a real VS Code; `make e2e ONLY=nan` runs the files with that in their names.
e2e: setup workbench vsix
	node tests/e2e/run.ts $(ONLY)

# In a real JupyterLab, with these versions of ipykernel.
KERNELS ?= 6.31.0 7.3.0 newest
notebook-e2e: setup workbench widget
	tests/e2e_notebook/setup_notebook.sh $(KERNELS)
	node tests/e2e_notebook/run.ts $(KERNELS)

# Regenerates what follows from records.py: the TypeScript types, the golden sessions and the golden answers at stops;
# and what follows from tests/test_regime_*.py: the README's list of regimes.
contract: setup
	$(BIN)/python kernel_ext/generate_typescript.py
	$(BIN)/python tests/make_golden.py
	$(BIN)/python tests/make_snapshots.py
	$(BIN)/python tests/held_golden.py
	$(BIN)/python tests/golden_answers.py
	$(BIN)/python tests/compare_golden.py
	$(BIN)/python tests/regimes.py

# What the README and the examples say was found in the small programs of tests/zoo and in examples/; minutes.
answers: setup
	$(BIN)/python tests/pictures.py
	$(BIN)/python tests/zoo/score.py

# The zoo under torch's own tools, side by side.
bench-zoo: setup
	mkdir -p build
	$(BIN)/python tests/bench/bench_zoo.py --json build/bench_zoo.json

# Every figure in one sitting, alone on the machine, and the README's table of costs from them; about an hour.
bench: setup workbench vsix
	$(BIN)/python tests/bench/run.py --json tests/bench/costs.json
	$(BIN)/python tests/bench/cost_table.py

# Other tools on the same programs, each installed into build/peers; about an hour.
bench-peers: setup
	mkdir -p build
	$(BIN)/python tests/bench/bench_peers.py --json build/bench_peers.json

bench-long: setup
	$(BIN)/python tests/bench/bench_long_run.py

package: wheel vsix

wheel: setup widget page
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# After setup: the statistics kernel that it built goes with the extension's copy of the library.
vsix: setup $(LIBRARIES)
	mkdir -p dist
	cd vscode-extension && npm run --silent package -- --out ../dist/

clean:
	rm -rf $(VENV) build dist vscode-extension/node_modules vscode-extension/dist kernel_ext/gradwatch/static

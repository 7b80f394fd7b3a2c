# Every target builds .venv when it is missing or older than what it is made from.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin
INSTALLED := .venv/.installed
JOBS ?= 2

# one thread a process, so that results and timings do not depend on the machine
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg
# the tests start some hundred processes, which share what they compile
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart test check format bench notebooks swarm clean help

help:
	@echo "make quickstart   train a model on a synthetic market, then backtest it with latency"
	@echo "make test         run the tests"
	@echo "make check        formatting, lint, types, import layers"
	@echo "make bench        benchmarks, as JSON"
	@echo "make notebooks    execute the notebooks"
	@echo "make swarm        random whole scenarios with all laws asserted, for MINUTES=10"

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lightcone needs Python 3.11, 3.12 or 3.13: found none. Install one, or name it: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "lightcone needs Python 3.11, 3.12 or 3.13: got $$($(PYTHON) --version). Name one: make PYTHON=/path/to/python"; exit 2; }
	@echo "Building .venv, once (a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# a peer to compare with: it asks for an older numpy and for plotting, neither of which we use
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --only-binary :all: hftbacktest || echo "no wheel of hftbacktest for this machine: the tests against it will be skipped"
	@touch $@

quickstart: $(INSTALLED)
	$(BIN)/lightcone train scenarios/quickstart.yaml
	$(BIN)/lightcone run scenarios/quickstart.yaml

test: $(INSTALLED)
	$(BIN)/python -m tests.warm
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q -m "not real_serving"
	@# real replicas have the machine to themselves
	$(BIN)/python -m pytest -q -m real_serving tests/inference/real

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	$(BIN)/python benchmarks/replay.py --work w1 --quotes 2000000 --json
	$(BIN)/python benchmarks/replay.py --work w3 --quotes 2000000 --json
	$(BIN)/python benchmarks/memory.py --json

notebooks: $(INSTALLED)
	$(BIN)/python notebooks/execute.py

MINUTES ?= 10

swarm: $(INSTALLED)
	$(BIN)/lightcone swarm --minutes $(MINUTES) --jobs $(JOBS)

clean:
	rm -rf .venv runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

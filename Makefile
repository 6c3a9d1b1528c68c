# `make help` lists the targets. Each brings the environment up to date first; that is quick when nothing changed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

BIN := .venv/bin
# What `make lint` and `make format` read, as far as it is there.
CODE := $(wildcard sources pipelines tests benchmarks scripts)
# More arguments: make test ARGS='-k windows -n 2', make demo ARGS='--json'.
ARGS ?=

.PHONY: help setup demo test lint docs format lock bench torture schedules fleet clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

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

docs: setup ## Build the docs site to build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

format: setup ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

COMPILE := UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'

lock: setup ## Compile the locks in requirements/ anew (ARGS=--upgrade for newer versions)
	$(COMPILE) --extra dev --output-file requirements/dev.txt pyproject.toml requirements/build.in $(ARGS)
	@# the image gets the versions that the tests ran with
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/build.txt requirements/build.in $(ARGS)
	$(COMPILE) --constraint requirements/dev.txt --extra postgres --extra dbt --extra otel \
		--output-file requirements/container.txt pyproject.toml $(ARGS)
	$(COMPILE) --output-file requirements/airflow.txt requirements/airflow.in $(ARGS)
	@$(MAKE) --no-print-directory setup

bench: setup ## Measure ours and its peers, write benchmarks/RESULTS.md (ARGS=--help; everything takes hours)
	$(BIN)/python -m benchmarks $(ARGS)

torture: setup ## Kill runs and backfills 1,000 times and compare with the truth each time; then long made-up histories
	$(BIN)/python -m tests.torture $(ARGS)
	MINDO_TORTURE=1 $(BIN)/python -m pytest tests/mindo/test_any_history_ends_in_the_truth.py \
		tests/mindo/test_how_it_is_read_makes_no_difference.py

# Airflow pins its own packages, so it has an environment of its own.
.venv.airflow/.stamp: requirements/airflow.txt
	@rm -rf .venv.airflow
	@echo "airflow: making .venv.airflow" >&2
	@python=$$(sh scripts/find-python) && "$$python" -m venv .venv.airflow
	@.venv.airflow/bin/python -m pip --disable-pip-version-check --no-input install -qq \
		--require-hashes --no-deps --requirement requirements/airflow.txt
	@touch $@

schedules: setup .venv.airflow/.stamp ## Build and run the container, run the Airflow DAGs, judge units and crontab
	@sh scripts/install-schedule-tools
	MINDO_SCHEDULES=1 $(BIN)/python -m pytest tests/schedules tests/schedules/airflow_trial.py \
		tests/schedules/container_trial.py $(ARGS)

fleet: setup ## Load with Dagster, Celery and Redis, kill a worker, compare with the truth (ARGS=times: foretold and measured times)
	$(BIN)/python -m benchmarks.fleet $(ARGS)

clean: ## Remove the environment, caches and build artefacts; databases stay
	rm -rf .venv .venv.airflow .venv.lock build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis _storage
	find sources pipelines tests benchmarks scripts -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

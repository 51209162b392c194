# The commands of the README. Everything lives in .venv and in the folders named by .gitignore.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run dev test pictures reference check bench fuzz clean

help: ## Lists these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## Makes .venv with everything that run and dev need

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …"; exit 1; }
	@echo "setting up $(VENV) (a minute, the first time) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.ready
	@echo "adding what tests and checks need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: setup ## Materializes the datasets of definitions/ through all layers, on services of its own
	@$(BIN)/python -m definitions run

dev: setup ## Opens the Dagster UI on the same datasets and services; Ctrl-C stops all of it
	@$(BIN)/python -m definitions dev

test: $(VENV)/.dev ## Runs all tests, on real servers that they start and stop
	@$(BIN)/python -m tests.browser.chromium
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

pictures: $(VENV)/.dev ## Takes the pictures of docs/pictures anew, from a running Dagster UI
	@$(BIN)/python -m tests.browser docs/pictures

reference: $(VENV)/.dev ## Makes docs/reference.md anew from the docstrings
	@$(BIN)/python -m tests.support.reference

check: $(VENV)/.dev ## Format, lint, direction of imports, types, and whether the definitions load
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/dagster definitions validate -w workspace.yaml

bench: $(VENV)/.dev ## Measures all beside its peers; QUICK=1 leaves them out (two minutes)
	@$(BIN)/python -m benchmarks

fuzz: $(VENV)/.dev ## Fuzzes each reader of strangers' bytes, guided by coverage; SECONDS=600 each
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	@for target in car mst cbor tar npy msgpack; do \
		$(BIN)/python -m tests.fuzz $$target $(or $(SECONDS),600) || exit 1; done

clean: ## Removes .venv, the services' data, and what tools left behind
	rm -rf $(VENV) .venv-bench .devnet .dagster .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# `make run` and `make test` work on a fresh machine and may be called again at any time.
PYTHON   ?= python3
BROWSER  ?= 1
POSTGRES ?= 1
VENV     := .venv
BIN      := $(VENV)/bin
PIP      := $(BIN)/python -m pip install -c constraints.txt
# The 4-bit engine is for machines without an NVIDIA GPU.
EXTRA    := $(shell command -v nvidia-smi >/dev/null || echo '[cpu]')

.DEFAULT_GOAL := help
.PHONY: help run test lint types doctor constraints clean

help:
	@echo "make run     install what is missing and start the arena"
	@echo "make test    install what is missing and run all tests"
	@echo "             BROWSER=0 without the browser tests, POSTGRES=0 without those of Postgres"
	@echo "make lint    ruff      make types   mypy      make doctor  what this machine has"
	@echo "make constraints  constraints.txt from the versions installed here"

run: $(VENV)/.run
	@exec $(BIN)/python app.py

test: $(VENV)/.run $(VENV)/.dev
	@BROWSER=$(BROWSER) POSTGRES=$(POSTGRES) scripts/install-test-programs
	@BROWSER=$(BROWSER) POSTGRES=$(POSTGRES) scripts/test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

constraints: $(VENV)/.dev
	$(BIN)/python scripts/constraints > constraints.new && mv constraints.new constraints.txt

doctor: $(VENV)/.run
	@$(BIN)/arena doctor

$(BIN)/python:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/environment

$(VENV)/.run: pyproject.toml constraints.txt $(wildcard requirements*.txt) | $(BIN)/python
	$(PIP) -e '.$(EXTRA)'
	$(PIP) --no-deps -r requirements-embedded.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

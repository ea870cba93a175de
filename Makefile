# `make run` and `make test` work on a fresh machine and may be called again at any time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint types doctor clean

help:
	@echo "make run     install what is missing and start the arena"
	@echo "make test    install what is missing and run all tests, browser tests included"
	@echo "make lint    ruff      make types   mypy      make doctor  what this machine has"

run: $(VENV)/.run
	@exec $(BIN)/python app.py

test: $(VENV)/.run $(VENV)/.dev
	@scripts/browser
	@scripts/postgres
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser"
	@# Playwright keeps an event loop running, so the browser's tests have a process of their own.
	$(BIN)/python -m pytest -n 2 --dist loadfile -m browser tests/browser

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

doctor: $(VENV)/.run
	@$(BIN)/python -m arena doctor

$(BIN)/python:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" scripts/environment

$(VENV)/.run: requirements.txt requirements-cpu.txt requirements-embedded.txt | $(BIN)/python
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-deps -r requirements-embedded.txt
	@# The 4-bit engine is for machines without an NVIDIA GPU.
	command -v nvidia-smi >/dev/null || $(BIN)/python -m pip install -r requirements-cpu.txt
	@touch $@

$(VENV)/.dev: $(wildcard requirements*.txt) | $(BIN)/python
	$(BIN)/python -m pip install -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Every target works from a fresh clone: it makes .venv on first use.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# A bare `torch` would pull gigabytes of CUDA; every pip here obeys the tested versions.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup fmt lint type test

$(VENV)/.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet -e '.[dev,fast]'
	touch $@

setup: $(VENV)/.done

fmt: setup
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

type: setup
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu"

# Every target works from a fresh clone: the first one that needs it makes .venv.
PYTHON ?= python3.11
BIN := .venv/bin
# A bare `torch` would pull gigabytes of CUDA: every pip here obeys the tested versions.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-gpu parity check fmt lint type docs bench weights studio chromium

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

.venv/.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch
	$(BIN)/pip install --quiet -e '.[dev,fast]'
	touch $@

setup: .venv/.done ## make .venv with the tested versions

demo: setup ## the main job on a real photo, into out/demo/
	$(BIN)/python examples/demo.py --out out/demo

studio: setup ## edit in the browser
	$(BIN)/pentimento studio

# The studio is tested in a real browser, which comes from the system's packages.
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } || { \
	  echo "The studio's tests need a browser: sudo apt-get install chromium" >&2; exit 1; }

# Two workers of one thread each: threads that fight over two cores cost more than they bring.
test: setup chromium ## the fast tests (what CI runs)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu"

test-slow: setup chromium ## the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not gpu"

test-gpu: setup ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

parity: setup ## official fixtures; PENTIMENTO_PARITY=DIR for your own
	$(BIN)/python -m pytest tests/parity -ra

check: lint type test ## formatting, lint, types, fast tests

fmt: setup ## format and mend
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

type: setup
	$(BIN)/mypy

docs: setup chromium ## write the command reference, take the studio's screenshots
	$(BIN)/python docs/cli.py
	$(BIN)/python docs/studio.py

bench: setup chromium ## the speed figures of docs/benchmarks.md, several minutes
	for b in edit see networks world scenes studio; do $(BIN)/python benchmarks/$$b.py || exit 1; done

weights: ## the recipes behind the bundled weights, with their cost
	@sed -nE 's/^ABOUT.*= "(.*)"/  \1/p' recipes/*.py

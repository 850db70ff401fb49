# Everything is done in .venv; nothing but Python 3.11, pip and make is needed before.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEV    := $(VENV)/dev.stamp
RUN    := $(VENV)/run.stamp

.PHONY: demo test test-heavy test-all lint types bench bench-quick build clean help

help:
	@echo "make demo       install penstock and watch a stream, and one that is cut"
	@echo "make test       lint, types and the everyday tests"
	@echo "make test-heavy the tests that take longer or want a quiet machine; make test-all does both"
	@echo "make bench      measure, and write the table of docs/performance.md"
	@echo "make build      wheel and source distribution in dist/"

$(VENV):
	$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(RUN)

demo: $(RUN)
	@$(BIN)/penstock demo

lint: $(DEV)
	$(BIN)/ruff check daemon tests
	$(BIN)/ruff format --check daemon tests
	$(BIN)/flake8-async --enable=ASYNC --disable=ASYNC124,ASYNC127,ASYNC910,ASYNC911,ASYNC912,ASYNC913 $$(find daemon -name "*.py")

types: $(DEV)
	$(BIN)/mypy

# Half of the tests' time is waiting for real sockets and processes: two files at a time.
test: lint types
	$(BIN)/pytest -m 'not heavy' -n 2 --dist loadfile

test-heavy: $(DEV)
	$(BIN)/pytest -m heavy

test-all: test test-heavy

bench: $(DEV)
	$(BIN)/python -m tests.bench --write docs/performance.md

bench-quick: $(DEV)
	$(BIN)/python -m tests.bench --quick

build: $(DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Everything is done in .venv; nothing but Python 3.11, pip and make is needed before.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEV    := $(VENV)/dev.stamp
RUN    := $(VENV)/run.stamp
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
LOCK   := etc/lock/run.lock etc/lock/dev.lock
LOCKING = --quiet --no-header --universal --python-version 3.11 --generate-hashes $(UPGRADE)

.PHONY: demo test test-heavy test-systemd test-all fuzz soak lint types bench bench-quick build deb lock clean help

help:
	@echo "make demo       install penstock and watch three streams: one whole, one cut, one that falls silent"
	@echo "make test       lint, types and the everyday tests"
	@echo "make test-heavy the tests that take longer or want a quiet machine; make test-all does both"
	@echo "make test-systemd  as root: Debian 12 and 13 are booted, and penstock installed in them"
	@echo "make fuzz       look for what breaks the parsers: FUZZ_SECONDS=60 for each of FUZZ_TARGETS (all)"
	@echo "make soak       mixed traffic for MINUTES=60: memory, descriptors and tasks must not grow"
	@echo "make bench      measure, and write the table of docs/performance.md"
	@echo "make build      wheel and source distribution in dist/; make deb: Debian's package"
	@echo "make lock       resolve the versions for developers and for Debian's package anew"

$(VENV):
	$(PYTHON) -m venv $(VENV)

# As a user's pip would resolve it today.
$(RUN): pyproject.toml | $(VENV)
	$(PIP) install --editable .
	@touch $@

# Exactly what was tested last.
$(DEV): pyproject.toml $(LOCK) | $(VENV)
	$(PIP) install --require-hashes --requirement etc/lock/dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUN)

demo: $(RUN)
	@$(BIN)/penstock demo

lint: $(DEV)
	$(BIN)/ruff check daemon tests etc
	$(BIN)/ruff format --check daemon tests etc
	$(BIN)/flake8-async --enable=ASYNC --disable=ASYNC124,ASYNC127,ASYNC910,ASYNC911,ASYNC912,ASYNC913 $$(find daemon -name "*.py")

types: $(DEV)
	$(BIN)/mypy

# Half of the tests' time is waiting for real sockets and processes: two files at a time.
test: lint types
	$(BIN)/pytest -m 'not heavy and not systemd' -n 2 --dist loadfile

test-heavy: $(DEV)
	$(BIN)/pytest -m heavy

test-systemd: $(DEV)
	$(BIN)/pytest -m systemd -rs tests/systemd

test-all: test test-heavy

# What it finds is kept in tests/fuzz/corpus and replayed by `make test`.
FUZZ_SECONDS ?= 60
fuzz: $(DEV)
	$(PIP) install --no-build-isolation --editable '.[fuzz]'
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

soak: $(DEV)
	PYTHONPATH=tests $(BIN)/python -m soak $(or $(MINUTES),60)

bench: $(DEV)
	$(BIN)/python -m tests.bench --write docs/performance.md

bench-quick: $(DEV)
	$(BIN)/python -m tests.bench --quick

build: $(DEV)
	$(BIN)/python -m build --no-isolation

deb: $(DEV)
	$(BIN)/python etc/debian/package.py

# UPGRADE=--upgrade takes the newest of everything; without it what still fits stays.
lock: | $(VENV)
	$(PIP) install uv
	$(BIN)/uv pip compile $(LOCKING) --output-file etc/lock/run.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCKING) --output-file etc/lock/dev.lock --extra dev -c etc/lock/run.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

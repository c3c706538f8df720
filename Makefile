# What a newcomer and the CI need. Nothing but Python (3.11 or newer) and make has to be there.

PYTHON ?= python3
ENGINE ?= process
VENV := .venv
BIN := $(VENV)/bin
# Touched when everything that pyproject.toml asks for is installed.
STAMP := $(VENV)/.installed
# Also where the environment keeps Python from doing so (PYTHONDONTWRITEBYTECODE): else each process compiles what was
# changed since, and a deploy is five of them.
COMPILE := $(BIN)/python -m compileall -q common master node client deploy migrations

.PHONY: help install check fix test demo bench bench-healing

help:
	@echo "make demo      start a master and three nodes, store real files, read them back"
	@echo "make test      all tests, with the branch coverage of unit and contract tests"
	@echo "make check     lint, types, import rules"
	@echo "make fix       format, and mend what the linter can"
	@echo "make install   only set up $(VENV)"
	@echo "make bench     measure beside the machine's limits: WORKLOADS=w1,w2 REPEAT=5 ENGINE=process"
	@echo "make bench-healing  measure repair, what healing costs users, planning, a million files (quarter of an hour)"

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("dfs needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(COMPILE)
	@touch $(STAMP)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_tidy.py

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Coverage is a measure of the fast tests; the others run real processes, which it would slow down and not see.
test: $(STAMP)
	$(BIN)/pytest tests/unit tests/contracts --cov --cov-branch --cov-report=term:skip-covered
	$(BIN)/pytest tests --ignore=tests/unit --ignore=tests/contracts

demo: $(STAMP)
	@$(COMPILE)
	$(BIN)/python -m dfs_deploy.demo --engine $(ENGINE)

bench: $(STAMP)
	@$(COMPILE)
	$(BIN)/python -m bench.run --engine $(ENGINE) $(if $(WORKLOADS),--workloads $(WORKLOADS)) \
		$(if $(REPEAT),--repeat $(REPEAT)) $(if $(DURATION),--seconds $(DURATION)) \
		$(if $(VOLUME),--volume $(VOLUME)) $(if $(FILES),--files $(FILES)) $(if $(JSON),--json $(JSON))

# Each of these repeats by itself what has to be repeated.
bench-healing: $(STAMP)
	$(MAKE) bench WORKLOADS=w4 REPEAT=3 JSON=bench-w4.json
	$(MAKE) bench WORKLOADS=w7 REPEAT=1 JSON=bench-w7.json
	$(MAKE) bench WORKLOADS=w8 REPEAT=1 JSON=bench-w8.json
	$(BIN)/python -m bench.planning --json bench-planning.json

# Everything here sets itself up: `make demo` and `make test` work on a fresh checkout with Python 3.11.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo serve test chaos soak unit lint docs bench

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# the whole path on the shipped reviews; everything it writes lies under ./storage
demo: setup
	$(BIN)/bigmodel run jobs/recipes/reviews.toml

# what the demo made, over HTTP, until Ctrl-C
serve: setup
	$(BIN)/bigmodel serve reviews@champion

test: setup
	$(BIN)/pytest -m "not chaos" -n 2 --dist loadfile tests/unit --durations=15
	$(BIN)/pytest -m "not chaos" tests/integration tests/e2e --durations=15

# lost workers, failed starts and what else takes longer
chaos: setup
	$(BIN)/pytest -m chaos tests/integration tests/e2e --durations=15

# the endpoint under load for MINUTES (5 unless given): nothing fails, nothing grows
soak: setup
	BIGMODEL_SOAK_MINUTES=$(or $(MINUTES),5) $(BIN)/pytest -m chaos tests/integration/test_serving_load.py -k minutes -rP

unit: setup
	$(BIN)/pytest -n 2 --dist loadfile tests/unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python docs/generate.py

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.accuracy
	$(BIN)/python -m benchmarks.near_duplicates
	$(BIN)/python -m benchmarks.prepare
	$(BIN)/python -m benchmarks.prepare --kind mlp
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.first_step
	$(BIN)/python -m benchmarks.file_to_model
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.replica
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.search mlp
	$(BIN)/python -m benchmarks.imbalance
	$(BIN)/python -m benchmarks.results

# Everything happens in a virtual environment in this folder; nothing else on the machine changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-jax test-torch bench accuracy plan illustrate check format clean

demo: $(VENV)/.demo-installed ## install, train on photographs, write runs/demo/
	$(BIN)/python scripts/demo.py $(DEMO)

test: $(VENV)/.dev-installed ## install, run the whole test suite
	$(BIN)/python -m pytest $(TEST)

test-slow: $(VENV)/.dev-installed ## what takes minutes: every application of Keras, 100 kills, 10,000 snapshots
	$(BIN)/python -m pytest -m slow $(TEST)

test-jax test-torch: test-%: .venv-%/.installed ## the same tests on that backend, without tensorflow
	KERAS_BACKEND=$* .venv-$*/bin/python -m pytest $(TEST)

bench: $(VENV)/.dev-installed ## measure it beside what people use today: half an hour; BENCH=--quick: a minute
	$(BIN)/python scripts/benchmark.py $(BENCH)

accuracy: $(VENV)/.dev-installed ## plant filters, see whether their labels are found: docs/accuracy.md
	$(BIN)/python scripts/accuracy.py --markdown docs/accuracy.md $(ACCURACY)

plan: $(VENV)/.dev-installed ## what large runs take, on paper and measured: the table of docs/scale.md
	$(BIN)/python scripts/plan.py --markdown docs/scale.md $(PLAN)

illustrate: $(VENV)/.demo-installed ## draw the pictures of docs/measures.md from runs/demo
	$(BIN)/python scripts/illustrate.py

check: $(VENV)/.dev-installed ## lint, format, types, and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev-installed ## put the code in its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): a minute or two, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demo]"
	@touch $@

$(VENV)/.dev-installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): a minute or two, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demo,dev]"
	@touch $@ $(VENV)/.demo-installed

.venv-%/.installed: pyproject.toml
	@echo "installing into .venv-$*: a minute or two, once"
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$*,test]"
	@touch $@

# Everything is installed into virtual environments in this folder; the system is not changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One process more than cores, at most 4: each may need 1 GB of memory. TEST=-n0 or --pdb: only one.
PYTEST := -m pytest -n auto --maxprocesses 4 --dist worksteal
# There is a process for each core: more threads would wait for each other.
test test-slow test-jax test-torch test-oldest: export OMP_NUM_THREADS := 1
test test-slow test-jax test-torch test-oldest: export OPENBLAS_NUM_THREADS := 1
# The tests start hundreds of programs, which would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo digits test test-slow test-jax test-torch test-oldest bench accuracy scale docs docs-pictures gallery gallery-torch notebooks check format clean

demo: $(VENV)/.demo-installed ## install, train on photographs, write runs/demo/
	$(BIN)/python scripts/demo.py $(DEMO)

digits: $(VENV)/.demo-installed ## train on handwritten digits, write runs/digits/
	$(BIN)/python scripts/digits.py $(DIGITS)

test: $(VENV)/.dev-installed ## run all tests except the slow ones
	$(BIN)/python $(PYTEST) $(TEST)

test-slow: $(VENV)/.dev-installed ## run the slow tests: every application of Keras, 100 kills, 10,000 snapshots, 100 examples for each @given
	$(BIN)/python $(PYTEST) -m "slow or hypothesis" --hypothesis-profile thorough $(TEST)

test-jax test-torch: test-%: .venv-%/.installed ## run the tests on that backend, without tensorflow
	KERAS_BACKEND=$* .venv-$*/bin/python $(PYTEST) $(TEST)

# Trainings, TensorBoard with the tab, events, measures, tables, animations, figures, HTML files.
OLDEST := tests/capture/test_callback.py tests/capture/test_filter_plot.py \
    tests/outputs/test_animation.py tests/outputs/test_animation_files.py \
    tests/outputs/test_dot_product_figure.py tests/outputs/test_filmstrip_figure.py \
    tests/outputs/test_matplotlib_figure.py tests/outputs/test_measurement.py \
    tests/outputs/test_picture_files.py tests/outputs/test_plot_figure.py \
    tests/outputs/test_strongest_patches_figure.py tests/outputs/test_xarray_export.py \
    tests/tensorboard_plugin/test_event_files.py \
    tests/tensorboard_plugin/test_plugin_in_tensorboard.py \
    tests/tensorboard_plugin/test_summaries.py tests/test_cli_plot.py \
    tests/test_public_names.py tests/web/test_file_answers.py tests/web/test_html_file.py \
    -k "not steps_per_execution" # Keras 3.4 reports the first batch of each group

test-oldest: .venv-oldest/.installed ## run some tests on the oldest versions that pyproject.toml allows
	.venv-oldest/bin/python $(PYTEST) -W default $(or $(TEST),$(OLDEST))

bench: $(VENV)/.dev-installed ## compare with alternatives: half an hour; BENCH=--quick: a minute
	$(BIN)/python scripts/benchmark.py $(BENCH)

accuracy: $(VENV)/.dev-installed ## measure how often labels are right on planted filters: docs/accuracy.md
	$(BIN)/python scripts/accuracy.py --markdown docs/accuracy.md $(ACCURACY)

scale: $(VENV)/.dev-installed ## estimate and simulate large runs: the tables of docs/scale.md
	$(BIN)/python scripts/scale.py --markdown docs/scale.md $(SCALE)

docs: $(VENV)/.docs-installed ## build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

docs-pictures: $(VENV)/.demo-installed ## draw the pictures of docs/ from runs/demo, runs/digits and small models
	$(BIN)/python scripts/docs_pictures.py
	$(BIN)/python scripts/kernel_pictures.py

gallery: $(VENV)/.demo-installed ## train the networks of docs/gallery.md and draw them; not PyTorch's
	$(BIN)/python scripts/gallery.py --only deep,gan,ecg $(GALLERY)

gallery-torch: .venv-torch/.installed ## train and draw PyTorch's network of docs/gallery.md
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check scikit-image scikit-learn
	.venv-torch/bin/python scripts/gallery.py --only pytorch $(GALLERY)

notebooks: $(VENV)/.dev-installed ## run the notebooks and keep their outputs
	$(BIN)/python scripts/run_notebooks.py $(NOTEBOOKS)

check: $(VENV)/.dev-installed ## lint, format, types, and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev-installed ## format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the virtual environments and the caches of all tools
	rm -rf $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist

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

$(VENV)/.docs-installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): a minute, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $@

# Programs for tests are late ones: some of the others require late versions of what is tested.
.venv-oldest/.installed: pyproject.toml scripts/oldest_versions.py
	@echo "installing into .venv-oldest: a minute or two, once"
	@$(PYTHON) -m venv .venv-oldest
	@$(PYTHON) scripts/oldest_versions.py demo h5 match video xarray >.venv-oldest/constraints.txt
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	    -c .venv-oldest/constraints.txt -e ".[demo,h5,match,video,xarray]" \
	    hypothesis imageio-ffmpeg playwright pytest pytest-xdist
	@touch $@

.venv-%/.installed: pyproject.toml
	@echo "installing into .venv-$*: a minute or two, once"
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$*,test]"
	@touch $@

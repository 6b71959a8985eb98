# make demo   set up, run a real and two bundled networks on pictures at hand, name the report
# make test   set up, check style and types, run the tests
# make test-full   the same with every method on every network, and long sweeps
# Everything lives in .venv; the system's Python is left alone.

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-full check bench docs clean

demo: $(VENV)/.installed
	$(BIN)/seewhy demo --output demo

test: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -n auto --dist worksteal

test-full: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -n auto --dist worksteal -m "full or not full"

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

$(VENV)/.installed: pyproject.toml tools/make-venv
	tools/make-venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[photos]'
	touch $@

# The peers bring an OpenCV that needs a screen's libraries; the headless one does not.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build docs/methods.md

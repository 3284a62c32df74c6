# One command per wish. Each target sets up what it needs in .venv, with the versions of constraints.txt.
#
#   make tour ARGS=photo.jpg        make test ARGS=tests/test_files.py        make test PYTHON=python3.12
#
# A stamp in .venv says that a set-up was finished; a change of pyproject.toml or constraints.txt makes it stale.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?=
ARGS ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Exits with 0 where the interpreter will do: new enough, and able to make an environment with pip in it.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
HAS_VENV := import ensurepip, venv
USABLE_VENV := import pip, sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # two installers in one environment would break it
.PHONY: help tour test check soak docs gallery mutate bench page bundle browser clean FORCE

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tour: $(VENV)/.core  ## the main job on a picture, into twofold-tour/ (your own: ARGS=photo.jpg)
	@$(BIN)/twofold tour -o twofold-tour $(ARGS)

test: $(VENV)/.test  ## all tests and doctests, on two processes (some: ARGS=tests/test_files.py)
	@$(BIN)/python -m pytest -n 2 -m "not soak" $(ARGS)

check: $(VENV)/.check  ## style, format, types and import contracts; every tool runs, any finding fails
	@status=0; \
	echo "ruff check";          $(BIN)/ruff check . || status=1; \
	echo "ruff format --check"; $(BIN)/ruff format --check . || status=1; \
	echo "mypy";                $(BIN)/mypy || status=1; \
	echo "lint-imports";        $(BIN)/lint-imports --no-logo --config .importlinter || status=1; \
	exit $$status

soak: $(VENV)/.test  ## many more cases of the same tests; slow
	@$(BIN)/python -m pytest -m soak $(ARGS)

docs: $(VENV)/.docs  ## the pages, into docs/_build/html; a warning fails
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html $(ARGS)
	@echo "docs/_build/html/index.html"

gallery: $(VENV)/.core  ## draw the gallery, into docs/_build/gallery (stills only: ARGS=--quick)
	@$(BIN)/python docs/pictures/gallery.py $(ARGS)

mutate: $(VENV)/.test  ## break the core in many ways; the tests must notice each
	@$(BIN)/python tests/mutate.py $(ARGS)

bench: $(VENV)/.bench  ## the suite against every peer in .venv (some: ARGS="--suite dcgan --peers torch")
	@$(BIN)/twofold bench $(ARGS)

page: web/node_modules/.made  ## build the interactive page from web/ (needs node and npm; its users do not)
	@cd web && npx --no-install tsc --noEmit && node build.mjs $(ARGS)

bundle: web/node_modules/.made  ## the committed page is what web/ builds; any difference fails
	@rm -rf build/web && $(MAKE) --no-print-directory page ARGS=../build/web
	@for file in page.html widget.js; do \
	    cmp build/web/$$file src/twofold/explain/$$file || { \
	        echo "src/twofold/explain/$$file is not what web/ builds: run make page and commit it" >&2; exit 1; }; \
	done

browser: $(VENV)/.test bundle  ## the page in Chromium and its engine in node, nothing skipped
	@CI=true $(BIN)/python -m pytest -n 2 tests/web $(ARGS)

clean:  ## remove .venv and everything else that make wrote
	rm -rf $(VENV) twofold-tour docs/_build build dist web/node_modules
	rm -rf .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The set-up. FORCE: an environment whose interpreter is gone (Python was upgraded or removed) is made anew.
$(VENV)/.made: $(if $(shell test -x $(BIN)/python && echo yes),,FORCE)
	@if $(BIN)/python -c '$(USABLE_VENV)' 2>/dev/null; then \
	    mkdir -p $(VENV) && touch $@; exit; \
	fi; \
	found=; without_venv=; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
	    "$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 || continue; \
	    "$$python" -c '$(HAS_VENV)' >/dev/null 2>&1 && { found=$$python; break; }; \
	    without_venv=$${without_venv:-$$python}; \
	done; \
	if [ -z "$$found" ] && [ -n "$$without_venv" ]; then \
	    echo "$$without_venv cannot make environments: it lacks venv or ensurepip." \
	         "On Debian and Ubuntu the package python3-venv has them." >&2; exit 1; \
	elif [ -z "$$found" ]; then \
	    echo "Twofold needs Python 3.11 or newer; none of these is one: $(or $(PYTHON),$(PYTHONS))." \
	         "Name yours: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$("$$found" --version) …"; \
	"$$found" -m venv --clear $(VENV) && touch $@

# .unfinished stands while pip runs; where an earlier run left it behind, no stamp is believed.
$(addprefix $(VENV)/.,core test check docs bench): $(VENV)/.%: $(VENV)/.made pyproject.toml constraints.txt \
                                             $(if $(wildcard $(VENV)/.unfinished),FORCE)
	@echo "setting up $(VENV): twofold$(if $(filter-out core,$*),[$*]) …"
	@rm -f $@ && touch $(VENV)/.unfinished
	@$(PIP_INSTALL) -e '.$(if $(filter-out core,$*),[$*])'
	@rm -f $(VENV)/.unfinished && touch $@

# The page's own tools, exactly those of the lock file; nothing of them runs while they are installed.
web/node_modules/.made: web/package.json web/package-lock.json
	@command -v npm >/dev/null || { echo "the page is built by node and npm (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	@echo "setting up web/node_modules …"
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules/.made

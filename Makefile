# `make` alone lists the commands. Each sets up what it needs: a virtual environment in .venv and, for
# those that run servers, Kafka from Maven Central (downloaded once, kept in the user's cache).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
# The tests of the law must cover every branch of it.
LAW = $(BIN)/python -m pytest -q --cov=izin.consent tests/unit/consent

# Tests and campaigns start hundreds of processes, each of which would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
# As servers install it: a wheel with compiled hot paths (see setup.py). With a safe path izin is not imported from here.
COMPILED := $(VENV)/compiled
COMPILED_PYTHON = PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED)/imports $(COMPILED)/bin/python
# The campaigns that time it.
AS_INSTALLED := order hostile requests
# Without a C compiler they run interpreted, and say so.
IZIN_COMPILE ?= $(if $(shell command -v cc),1,0)

# By hash, from a list that is complete. Wheels alone, for what a build runs no hash covers: BUILD names packages that have
# none for this platform and may be built.
PINNED = install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: $(addprefix --no-binary ,$(BUILD)) -r
# After the pins, which have what ours need and what builds them.
OURS = --quiet --disable-pip-version-check --no-deps --no-build-isolation
# What `make pins` and `make sbom` run, apart from what izin is tested with.
TOOLS := $(VENV)/tools

.PHONY: help setup demo up wheel test test-servers test-browser test-axe chaos drill fuzz check check-form check-law check-tests mutants bench format asyncapi axe browser docs site pins release .release sbom clean

help: ## list these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 16

$(READY): pyproject.toml simulator/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "izin needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	@echo "installing into $(VENV)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip $(PINNED) constraints.txt
	@$(BIN)/pip install $(OURS) -e . -e ./simulator
	@touch $(READY)

setup: $(READY) ## install izin, the simulator and their tools into .venv

demo: $(READY) ## the main job end to end on real servers; CHAOS=1 kills each worker once
	@$(BIN)/izin demo $(if $(CHAOS),--chaos) $(DEMO_ARGS)

up: $(READY) ## the local stack, until Ctrl-C; UP_ARGS='--ports 9000' (consecutive ports), --fresh (without what was stored), --state-dir FOLDER, --servers-only
	@$(BIN)/izin up $(UP_ARGS)

wheel: $(READY) ## a wheel with compiled hot paths for this kind of machine, into dist; needs a C compiler, takes minutes
	@rm -rf build dist/izin-*.whl
	@IZIN_COMPILE=1 $(BIN)/pip wheel $(OURS) --wheel-dir dist .

# Those of the law run under coverage; those of benchmarks measure, so they run with the benchmarks.
NOT_HERE = --ignore tests/unit/consent --ignore tests/integration/benchmarks --ignore tests/e2e/test_examples.py
# What tests run beside izin, fetched side by side.
FETCHED = test-servers test-browser test-axe $(if $(shell command -v npm),$(VENV)/oidc-provider/.ready)

test-servers: $(READY)
	@$(BIN)/izin download --registry --connect

test-browser: $(READY)
	@PYTHONPATH=simulator/tests $(BIN)/python -m simulator_harness.browser

test-axe: $(READY)
	@$(MAKE) --no-print-directory axe || echo "axe is not installed: the tests of the console in a browser are skipped"

# Three processes for each core that CI has: while a test waits for a server, others run.
test: $(READY) ## the whole test suite: what CI runs
	@$(MAKE) --no-print-directory --jobs 4 $(FETCHED)
	@$(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder \
		--hypothesis-profile=same $(or $(PYTEST_ARGS),$(NOT_HERE))
	@$(if $(PYTEST_ARGS),:,$(LAW) -n 2 --hypothesis-profile=same)

mutants: $(VENV)/mutants/.ready ## mutation testing of the law and of the rows: nine in ten mutants must be killed
	@rm -rf mutants
	@$(VENV)/mutants/bin/mutmut run --max-children 2
	@$(VENV)/mutants/bin/python -m tools.mutants

# In an environment of its own: mutmut 3.7 does not support pytest 9.2.
$(VENV)/mutants/.ready: $(READY)
	@$(PYTHON) -m venv $(VENV)/mutants
	@$(BIN)/python -m tools.pins versions | grep -v '^pytest==' > $(VENV)/mutants/constraints.txt
	@$(VENV)/mutants/bin/pip install --quiet --disable-pip-version-check -c $(VENV)/mutants/constraints.txt \
		-e '.[dev]' -e ./simulator 'mutmut==3.7.0' 'pytest<9.2'
	@touch $@

chaos: $(READY) $(if $(filter $(AS_INSTALLED),$(or $(STAGE),order)),$(COMPILED)/.ready) ## fault campaigns: the order stage for MINUTES=10, STAGE=sink FAULTS=300, STAGE=gate, STAGE=inbound, STAGE=webhooks, STAGE=days DAYS=7, STAGE=outage, STAGE=onboarding, STAGE=reconcile, STAGE=access, STAGE=alerts, STAGE=files, STAGE=property, STAGE=late, STAGE=hostile, STAGE=words, STAGE=forgery, STAGE=requests, STAGE=console, STAGE=intake, STAGE=bodies, STAGE=outbox FAULTS=40, STAGE=upgrade; CHAOS_ARGS=options
	@$(BIN)/izin download
	@$(if $(filter $(AS_INSTALLED),$(or $(STAGE),order)),$(COMPILED_PYTHON),$(BIN)/python) -m tests.chaos.$(or $(STAGE),order) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(DAYS),--days $(DAYS)) $(CHAOS_ARGS)

drill: $(READY) ## a disaster and the recovery from it: NAME=restore-to-moment, standby-promoted, kafka-lost, broker-of-three, order-disk-lost, clock-wrong
	@$(BIN)/izin download
	@$(BIN)/python -m tests.chaos.drill $(NAME)

fuzz: $(READY) ## generated requests to every operation of the simulator; EXAMPLES=100 for each
	@PYTHONPATH=simulator/tests $(BIN)/python -m simulator_harness.fuzz $(if $(EXAMPLES),--examples $(EXAMPLES))

check: $(READY) ## format, lint, types, layers, generated docs, unit and contract tests; quick
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-tests check-law check-form

check-form:
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/deptry izin > $(VENV)/deptry.log 2>&1 || { cat $(VENV)/deptry.log; exit 1; }
	@$(BIN)/mypy
	@cd simulator && ../$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/lint-imports --no-cache simulator/pyproject.toml > $(VENV)/lint-imports.log || \
		{ cat $(VENV)/lint-imports.log; exit 1; }

check-law:
	@$(LAW)

check-tests:
	@$(BIN)/python -m pytest -q -m "not broker and not database and not e2e" --ignore tests/unit/consent \
		tests/unit tests/contract simulator/tests/test_structure.py $(PYTEST_ARGS)

bench: $(COMPILED)/.ready ## every claimed figure against its bar, after the tests of the benchmarks, or ONLY=name (ONLY=list lists them, ONLY=tests tests them); BENCH_ARGS=options
	@$(if $(filter-out tests,$(ONLY)),:,$(BIN)/python -m pytest -q tests/integration/benchmarks)
	@$(if $(filter tests,$(ONLY)),:,$(COMPILED_PYTHON) -m benchmarks $(or $(ONLY),all) $(BENCH_ARGS))

$(COMPILED)/.ready: $(READY) setup.py build_backend.py $(shell find izin simulator/iys_simulator -type f -not -name '*.pyc')
	@echo "$(if $(filter 1,$(IZIN_COMPILE)),compiling,installing) into $(COMPILED)"
	@rm -rf build
	@test -d $(COMPILED) || $(PYTHON) -m venv $(COMPILED)
	@$(COMPILED)/bin/pip $(PINNED) constraints.txt
	@IZIN_COMPILE=$(IZIN_COMPILE) $(COMPILED)/bin/pip install $(OURS) . ./simulator
	@mkdir -p $(COMPILED)/imports
	@ln -sfn ../../../benchmarks ../../../tests ../../../tools $(COMPILED)/imports/
	@touch $@

format: $(READY) ## format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

asyncapi: $(VENV)/asyncapi/.ready ## docs/asyncapi.json read by AsyncAPI's own parser; needs node and npm
	@$(BIN)/python -m pytest -q -n0 tests/contract/test_asyncapi.py

$(VENV)/asyncapi/.ready: $(READY) Makefile
	@npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(VENV)/asyncapi @asyncapi/parser@3.6.6
	@touch $@

# A real identity provider, at which tests of the console sign in; without npm they are skipped.
$(VENV)/oidc-provider/.ready: $(READY) Makefile
	@npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(VENV)/oidc-provider oidc-provider@9.13.3 \
		&& touch $@ || echo "oidc-provider cannot be installed: tests that sign in there are skipped"

browser: $(READY) $(VENV)/axe/.ready ## every screen of the console in a real browser, in each language, theme and width; SCREENSHOTS=1 renews those of the documentation; BROWSER_ARGS=options
	@PYTHONPATH=simulator/tests $(BIN)/python -m simulator_harness.browser
	@$(BIN)/izin download
	@$(BIN)/python -m tests.e2e.console $(if $(SCREENSHOTS),--docs) $(BROWSER_ARGS)

axe: $(VENV)/axe/.ready

$(VENV)/axe/.ready: $(READY) Makefile
	@npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(VENV)/axe axe-core@4.14.1
	@touch $@

docs: $(READY) ## regenerate documentation and code that is generated
	@$(BIN)/python -m tools.generate
	@$(BIN)/iys-simulator switches --output markdown > simulator/docs/switches.md

# For every Python from 3.11 and every platform; a file that names no host serves behind any mirror.
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-build $(if $(KEEP),,--upgrade) \
	--generate-hashes --no-header --no-annotate
pins: $(READY) $(TOOLS)/.ready ## renew the pins with the newest releases, their hashes, and the digests of the jars; KEEP=1 keeps versions
	@cp constraints.txt $(TOOLS)/izin.txt && cp tools/constraints.txt $(TOOLS)/tools.txt
	@$(COMPILE) --output-file $(TOOLS)/izin.txt --extra dev pyproject.toml simulator/pyproject.toml
	@$(COMPILE) --output-file $(TOOLS)/tools.txt --group tools
	@for list in izin tools; do \
		{ echo "# Renewed by make pins; see docs/supply-chain.md"; cat $(TOOLS)/$$list.txt; } > $(TOOLS)/$$list.pins || exit; done
	@mv $(TOOLS)/izin.pins constraints.txt && mv $(TOOLS)/tools.pins tools/constraints.txt
	@$(BIN)/python -m tools.pins jars

$(TOOLS)/.ready: tools/constraints.txt
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/pip $(PINNED) tools/constraints.txt
	@touch $@

# The library's names are read from its modules, so what they import is there too.
SITE = $(VENV)/site
site: $(READY) $(TOOLS)/.ready ## the pages as a site, without a warning: .venv/site/html/index.html; and each of their commands run
	@rm -rf $(SITE) && mkdir -p $(SITE) && cp -r docs $(SITE)/source
	@PYTHONPATH=$(CURDIR):$(wildcard $(CURDIR)/$(VENV)/lib/python3*/site-packages) $(TOOLS)/bin/python -m sphinx \
		--quiet --fail-on-warning --keep-going -b html -c site $(SITE)/source $(SITE)/html
	@$(BIN)/python -m pytest -q tests/e2e/test_examples.py
	@echo "file://$(CURDIR)/$(SITE)/html/index.html"

# Of what is committed. The compiled wheel is for this kind of machine, the pure one for any.
release: $(READY) $(TOOLS)/.ready ## what a release hands out, of what is committed: wheels, source, components, notes and digests in dist/VERSION
	@$(BIN)/python -m tools.release check
	@$(MAKE) --no-print-directory RELEASE=dist/$$($(BIN)/python -m tools.release version) .release

.release:
	@rm -rf build $(RELEASE) && mkdir -p $(RELEASE)
	@IZIN_COMPILE=0 $(BIN)/pip wheel $(OURS) --wheel-dir $(RELEASE) . ./simulator
	@if [ $(IZIN_COMPILE) = 1 ]; then rm -rf build && IZIN_COMPILE=1 $(BIN)/pip wheel $(OURS) --wheel-dir $(RELEASE) .; fi
	@git archive --prefix=izin-$(notdir $(RELEASE))/ --output=$(RELEASE)/izin-$(notdir $(RELEASE)).tar.gz HEAD
	@$(MAKE) --no-print-directory sbom && mv dist/izin.cdx.json $(RELEASE)/
	@$(BIN)/python -m tools.release notes > $(RELEASE)/NOTES.md
	@cd $(RELEASE) && sha256sum -- * > SHA256SUMS && cat SHA256SUMS

sbom: $(READY) $(TOOLS)/.ready ## what is installed and downloaded, as CycloneDX: dist/izin.cdx.json; OF=folder of another environment
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
		--output-file $(TOOLS)/environment.json $(or $(OF),$(VENV))
	@$(TOOLS)/bin/python -m tools.sbom $(TOOLS)/environment.json dist/izin.cdx.json

clean: ## remove everything that was installed or left behind
	@rm -rf $(VENV) .izin mutants build dist *.egg-info simulator/build simulator/dist simulator/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

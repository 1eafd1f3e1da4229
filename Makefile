# `make test` needs Rust, Python 3.11, Node 20 and, for what it installs, Debian.

# Cargo.toml says which version this is; tests/repository compares what else names it.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

export GATEWAY_BIN ?= $(CURDIR)/target/debug/glacier-gateway

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST)

setup: ## Install what the tests need where it is missing
	tests/clients/setup.sh

test: setup ## Run every test: Rust's, the AWS clients', the specification's
	cargo test --locked
	cargo build --locked
	.cache/venv/bin/pytest tests/clients
	.cache/venv/bin/pytest tests/policy
	.cache/venv/bin/pytest tests/repository
	node --test --test-timeout=300000 tests/clients/*.test.mjs
	$(MAKE) chart

chart: ## Check the Helm chart, the AWS role's template, the Dockerfile and one pod (UPDATE_SNAPSHOT=1 renews)
	tests/chart/setup.sh
	cargo build --locked
	.cache/chart/bin/pytest tests/chart

IMAGE ?= localhost/glacier-gateway:$(VERSION)

image: ## Build the image on base images made here of Debian packages, and run it
	tests/chart/setup.sh
	deploy/debian-bases.sh
	buildah build --isolation chroot --pull-never --layers --format docker \
	    --build-arg BUILDER_IMAGE=localhost/glacier-gateway-builder:trixie \
	    --build-arg RUNTIME_IMAGE=localhost/glacier-gateway-runtime:trixie \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) --tag $(IMAGE) .
	buildah images $(IMAGE)
	cargo build --locked
	GATEWAY_IMAGE=$(IMAGE) .cache/chart/bin/pytest -s tests/chart/test_pod.py

# TESTED=1 leaves the tests out, for who has just run them.
release: $(if $(TESTED),,lint test) ## Make a release of this commit in dist/, and push nothing
	tests/chart/setup.sh
	deploy/debian-bases.sh
	deploy/package.sh $(VERSION)

reproduce: ## Build the program twice in different folders, and compare the bytes
	deploy/reproduce.sh

# The last version's revision has to be in the clone.
upgrade: ## Have the last version, which is built for that, and this one share a store
	rm -rf .cache/last-version
	mkdir -p .cache/last-version
	git archive $$(cut -d ' ' -f 2 tests/last-version/version) | tar -x -C .cache/last-version
	cd .cache/last-version && cargo build --locked --target-dir "$(CURDIR)/target/last-version"
	LAST_GATEWAY="$(CURDIR)/target/last-version/debug/glacier-gateway" \
	    cargo test --locked --test store last_version

check-all: lint test deny differential generated-clients fuzz soak upgrade ## Check everything; takes hours

SOAK ?= 1

soak: ## Injure the store and the trail for an hour (SOAK=0.1: for a tenth of it)
	tests/clients/setup.sh
	SOAK=$(SOAK) cargo test --locked --test faults -- --nocapture

locks: ## Bring the lock files of the crates beside this one up to date with it
	cp Cargo.lock tests/sigv4-differential/
	for crate in fuzz bench/policy bench/tools tests/sigv4-differential tests/generated-clients/progenitor; do \
	  cargo metadata --format-version 1 --manifest-path $$crate/Cargo.toml >/dev/null || exit 1; \
	done

deny: ## Check licences, bans, sources, duplicates, advisories and unused dependencies
	cargo install --quiet --locked --root .cache/tools --version 0.20.2 cargo-deny
	cargo install --quiet --locked --root .cache/tools --version 0.9.2 cargo-machete
	PATH="$(CURDIR)/.cache/tools/bin:$$PATH" cargo machete
	PATH="$(CURDIR)/.cache/tools/bin:$$PATH" cargo deny check $(DENY)

openapi: ## Write the specification anew, after changing an operation
	cargo run --locked --quiet -- openapi > openapi/glacier-gateway.yaml

reference: ## Write the reference pages anew that are made of the code
	UPDATE_REFERENCE=1 .cache/venv/bin/pytest --quiet tests/repository/test_reference.py

recording: ## Record `dev` anew for README.md, after changing what it prints
	cargo build --locked
	python3 docs/recording.py target/debug/glacier-gateway

lint: ## Check formatting, lints and documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

generated-clients: ## Generate clients with the slower generators, and call `dev` with them
	tests/clients/setup.sh generators
	cargo build --locked
	.cache/venv/bin/pytest tests/clients/test_generated_clients.py -m slow

differential: ## Compare the verifier of signatures with one that others wrote
	cp Cargo.lock tests/sigv4-differential/
	cargo run --quiet --manifest-path tests/sigv4-differential/Cargo.toml

FUZZ_SECONDS ?= 60

# Takes a nightly compiler (`rustup toolchain install nightly`). What a run finds new goes
# to the first folder; the committed corpus is only read.
fuzz: ## Look for crashes in what reads untrusted text, FUZZ_SECONDS a target
	command -v cargo-fuzz || cargo install --locked cargo-fuzz
	for target in document decision arn authorization_header token jwks; do \
	  mkdir -p fuzz/target/corpus/$$target; \
	  cargo +nightly fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	      -max_total_time=$(FUZZ_SECONDS) -max_len=4096 || exit 1; \
	done

bench: ## Measure the gateway beside Envoy, nginx and others (see bench/README.md)
	bench/setup.sh
	deploy/release.sh
	.cache/bench/bin/python bench/run.py $(BENCH)
	$(if $(BENCH),,$(MAKE) bench-campaigns)

bench-campaigns: ## Measure jobs, a crawl and limits before a simulated Glacier (CAMPAIGNS="jobs quota")
	bench/setup.sh
	[ -x "$${BENCH_GATEWAY-target/shipped/glacier-gateway}" ] || deploy/release.sh
	CARGO_PROFILE_RELEASE_LTO=off cargo build --release --locked
	.cache/bench/bin/python bench/campaigns.py $(CAMPAIGNS)
	$(if $(CAMPAIGNS),,.cache/bench/bin/python bench/limits.py)

bench-policy: ## Time decisions, beside two peers
	cargo bench --manifest-path bench/policy/Cargo.toml

.PHONY: bench bench-campaigns bench-policy chart check-all deny differential fuzz generated-clients help image lint locks openapi recording reference release reproduce setup soak test upgrade

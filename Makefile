# The usual errands. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run web cluster demo test test-fast differential sim sim-faults soak prepare-tests bench attack schema definitions verify clean-data

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, migrate an embedded database, seed it and serve
	@scripts/build-web
	cargo run

web: ## build the playground for the next cargo build; needs Node 20.19 or newer
	@scripts/build-web --required

cluster: ## two nodes on PostgreSQL and Redis behind a balancer, as processes; see deploy/README.md
	@scripts/cluster

demo: ## play the whole story against a running server
	cargo run --example demo

test: prepare-tests web ## everything: format, lints, all tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace

test-fast: prepare-tests web ## all tests, without format and lints
	cargo test --workspace

# LANCEWIRE_DIFFERENTIAL_SEED repeats a run: it prints its seed first. A seed that found a fault goes into
# tests/js/differential/seeds.mjs.
differential: prepare-tests ## LANCEWIRE_DIFFERENTIAL_COUNT documents (20000) of a random seed, judged by graphql-js and by us
	LANCEWIRE_DIFFERENTIAL_SEED=$${LANCEWIRE_DIFFERENTIAL_SEED:-random} \
	LANCEWIRE_DIFFERENTIAL_COUNT=$${LANCEWIRE_DIFFERENTIAL_COUNT:-20000} \
		cargo test --test api differential:: -- --nocapture

# A seed that found a fault goes into tests/sim/main.rs.
sim: ## histories of use cases and of delivery, LANCEWIRE_SIM_SEEDS seeds (1000) each, from LANCEWIRE_SIM_SEED on (a random one); see tests/sim/main.rs
	LANCEWIRE_SIM_SEED=$${LANCEWIRE_SIM_SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')} \
	LANCEWIRE_SIM_SEEDS=$${LANCEWIRE_SIM_SEEDS:-1000} \
		cargo test $(SIM_PROFILE) --test sim -- --nocapture --test-threads=1 people subscribers

sim-faults: ## put known mistakes into a copy of the sources, and say how soon the simulation finds each
	@scripts/sim-faults

# A release build: a debug one is the bottleneck itself, and delivers a fifth. Each client takes files of several processes.
soak: prepare-tests ## tests/api/faults for LANCEWIRE_SOAK_SECONDS a story (300), with LANCEWIRE_SOAK_CLIENTS (1000); then `sim`
	rm -rf target/tmp/faults
	cargo test --release --test api --no-run
	ulimit -n "$$(ulimit -H -n)"; \
	LANCEWIRE_SOAK_SECONDS=$${LANCEWIRE_SOAK_SECONDS:-300} LANCEWIRE_SOAK_CLIENTS=$${LANCEWIRE_SOAK_CLIENTS:-1000} \
		cargo test --release --test api faults:: -- --nocapture --test-threads=1; \
	ended=$$?; cat target/tmp/faults/report.md; exit $$ended
	LANCEWIRE_SIM_SEEDS=$${LANCEWIRE_SIM_SEEDS:-10000} $(MAKE) sim SIM_PROFILE=--release

prepare-tests: ## PostgreSQL, Redis, HAProxy, Chromium, Node and its packages, installed where they are missing
	@scripts/prepare-tests

bench: ## measure lancewire beside its peers; takes a while, see bench/README.md
	bench/run

attack: ## what a stranger may do to a production build, and what honest users feel meanwhile; see bench/attack/README.md
	bench/attack/run $(ATTACK)

# Through a temporary file: a build that fails must not leave an empty schema behind.
schema: ## write schema.graphql from the code
	cargo run --quiet -- schema > schema.graphql.new || { rm -f schema.graphql.new; exit 1; }
	mv schema.graphql.new schema.graphql

definitions: ## write migration/definitions/postgres.txt, which `lancewire verify` compares with, from the migrations
	LANCEWIRE_WRITE_DEFINITIONS=1 cargo test --test api verify::definitions::

verify: ## check the invariants of the development database
	cargo run --quiet -- verify

clean-data: ## delete the development database
	rm -rf data

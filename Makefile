.PHONY: run test check bench load fuzz dist

run: ; scripts/install-packages cmake g++ && cargo run --release -- up
test: ; scripts/test
check: ; cargo fmt --all --check && cargo clippy --locked --workspace --all-targets -- -D warnings
bench: ; cargo bench --package benches
load: ; scripts/load
dist: ; scripts/build-release
fuzz: ; scripts/fuzz

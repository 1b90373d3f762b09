# Every check is a command. `just check` runs all of them, the tests too.

# Format, lint, test, document, and look at the dependencies.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items
    cargo deny check bans licenses sources

# The whole story on this machine.
demo:
    cargo run --release -- demo

# How fast and how large, beside references in the same run.
bench:
    cargo build --release
    cargo run --release -p casewire-bench

# Replicas killed, paused, stopped and cut off from their database for a while: "60 instances, 30000 messages", or a
# time such as "10m", also "5 replicas, 60 instances, 10m". Needs CASEWIRE_TEST_POSTGRES_URL; CASEWIRE_TEST_SEED
# chooses what happens.
soak size="60 instances, 30000 messages":
    CASEWIRE_TEST_SOAK="{{size}}" cargo test --release --test api chaos_in_a_cluster -- --nocapture

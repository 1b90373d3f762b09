# Every check is a command. `just check` is what CI runs beside the tests.

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

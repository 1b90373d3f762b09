//! Black-box tests: they start the hub on a free port and speak HTTP to it, as clients do.

mod api;

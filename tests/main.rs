//! Black-box tests: every one starts a hub on a port of its own and speaks HTTP to it.

mod api {
    mod accounts;
    mod bench;
    mod deliveries;
    mod instances;
}

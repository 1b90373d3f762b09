//! Black-box tests: they start the hub on a free port, in this process or as one of its own, and speak to
//! it as clients, X, ServiceNow and operators do.

mod api;
mod connections;
mod home;
mod postgres;
mod process;

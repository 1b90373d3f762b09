//! The sandbox as its clients meet it: over HTTP, on port 0, without sleeps.

mod servicenow_api;
mod servicenow_faults;
mod support;
mod x_api;
mod x_faults;
mod x_webhooks;

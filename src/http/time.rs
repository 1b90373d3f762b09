//! Times in answers.

pub(crate) use casewire_actors::domain::time::format_time as rfc3339;

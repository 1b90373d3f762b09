//! Why the settings are refused.

use std::path::PathBuf;

/// Settings that cannot be used. The message is for the operator and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A named file, or one that exists, cannot be read.
    #[error("cannot read {}: {source}; name another file with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not YAML, or not a map of sections.
    #[error(
        "{origin} is not usable YAML: {problem}; compare it with the settings.yaml that comes with casewire"
    )]
    Syntax {
        /// The file or variable.
        origin: String,
        /// What the parser said.
        problem: String,
    },
    /// A key that does not exist.
    #[error("unknown setting {key} (from {origin}); {}", suggest(*.nearest))]
    Unknown {
        /// The dotted key.
        key: String,
        /// The file or variable.
        origin: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value that cannot be used.
    #[error("setting {key} (from {origin}): {problem}; {remedy}")]
    Invalid {
        /// The dotted key.
        key: String,
        /// The file or variable.
        origin: String,
        /// What is wrong with the value.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// Values that are fine alone and not together.
    #[error("setting {key}: {problem}; {remedy}")]
    Conflict {
        /// The dotted key to change.
        key: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

impl SettingsError {
    /// The dotted key that is to be changed, where there is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { .. } | Self::Syntax { .. } => None,
            Self::Unknown { key, .. } | Self::Invalid { key, .. } => Some(key),
            Self::Conflict { key, .. } => Some(key),
        }
    }
}

fn suggest(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}? otherwise remove it"),
        None => "remove it; the settings.yaml that comes with casewire names every key".to_owned(),
    }
}

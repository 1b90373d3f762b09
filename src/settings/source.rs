//! Where settings come from: a YAML file, and the environment over it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use serde_yaml_ng::{Mapping, Value};

use super::error::SettingsError;
use super::keys::{self, Form, Key};
use super::{DEFAULT_FILE, Settings};

/// What every variable begins with.
pub(super) const ENV_PREFIX: &str = "CASEWIRE_";

/// A map of sections in which every key is known, and where each value came from.
pub(super) struct Document {
    sections: Mapping,
    file: String,
    variables: HashMap<&'static str, String>,
}

impl Document {
    /// Reads the named file, or the default one if it is there.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, SettingsError> {
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file.display().to_string()),
            Err(error) if path.is_none() && error.kind() == ErrorKind::NotFound => {
                Self::parse("", DEFAULT_FILE.to_owned())
            }
            Err(source) => Err(SettingsError::Unreadable { path: file.to_owned(), source }),
        }
    }

    fn parse(text: &str, file: String) -> Result<Self, SettingsError> {
        let syntax = |problem: String| SettingsError::Syntax { origin: file.clone(), problem };
        let root = serde_yaml_ng::from_str(text).map_err(|error| syntax(error.to_string()))?;
        let sections = match root {
            Value::Null => Mapping::new(),
            Value::Mapping(sections) => sections,
            _ => return Err(syntax("it is not a map of sections".to_owned())),
        };
        let mut known = Mapping::new();
        for (name, keys) in sections {
            let name = name.as_str().ok_or_else(|| syntax("a section's name is not text".to_owned()))?;
            let section = known_keys(name, keys, &file)?;
            known.insert(name.into(), Value::Mapping(section));
        }
        Ok(Self { sections: known, file, variables: HashMap::new() })
    }

    /// Puts the environment over the file.
    pub(super) fn overridden(
        mut self,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut named: Vec<(String, String)> = env
            .filter(|(name, _)| name.strip_prefix(ENV_PREFIX).is_some_and(|rest| rest.contains("__")))
            .collect();
        // So that the same environment always gives the same complaint.
        named.sort();
        for (variable, text) in named {
            let path = variable[ENV_PREFIX.len()..].replacen("__", ".", 1).to_lowercase();
            let is_written_right = variable == variable.to_uppercase();
            let Some(key) = keys::find(&path).filter(|_| is_written_right) else {
                return Err(unknown(path, variable));
            };
            if text.trim().is_empty() {
                continue;
            }
            self.set(key, from_environment(key, &text, &variable)?);
            self.variables.insert(key.path, variable);
        }
        Ok(self)
    }

    fn set(&mut self, key: &Key, value: Value) {
        let (section, name) = key.path.split_once('.').expect("every key is in a section");
        let section = self.sections.entry(section.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
        if let Value::Mapping(section) = section {
            section.insert(name.into(), value);
        }
    }

    /// Takes the values into their types.
    pub(super) fn into_settings(self) -> Result<Settings, SettingsError> {
        let Self { sections, file, variables } = self;
        serde_path_to_error::deserialize(Value::Mapping(sections)).map_err(|error| {
            let path = error.path().to_string();
            let Some(key) = keys::owner(&path) else {
                return SettingsError::Syntax {
                    origin: file.clone(),
                    problem: format!("{path} does not fit"),
                };
            };
            let origin = variables.get(key.path).unwrap_or(&file).clone();
            let problem = error.into_inner().to_string();
            invalid(key, path, origin, problem)
        })
    }
}

/// The keys of a section, without those that have no value.
fn known_keys(section: &str, keys: Value, file: &str) -> Result<Mapping, SettingsError> {
    if !keys::is_section(section) {
        return Err(unknown(section.to_owned(), file.to_owned()));
    }
    let keys = match keys {
        Value::Null => Mapping::new(),
        Value::Mapping(keys) => keys,
        // What stands here may be a secret: it is not shown.
        _ => {
            let problem = format!("{section} is not a map of keys and values");
            return Err(SettingsError::Syntax { origin: file.to_owned(), problem });
        }
    };
    let mut known = Mapping::new();
    for (name, value) in keys {
        let path = format!("{section}.{}", name.as_str().unwrap_or("?"));
        if keys::find(&path).is_none() {
            return Err(unknown(path, file.to_owned()));
        }
        if !value.is_null() {
            known.insert(name, value);
        }
    }
    Ok(known)
}

/// A variable's text as the value that YAML would have given.
fn from_environment(key: &Key, text: &str, variable: &str) -> Result<Value, SettingsError> {
    let flow = |text: &str| {
        serde_yaml_ng::from_str(text)
            .map_err(|_| invalid(key, key.path.to_owned(), variable.to_owned(), "not YAML".to_owned()))
    };
    match key.form {
        Form::Text => Ok(Value::from(text)),
        Form::List if !text.trim_start().starts_with('[') => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::Sequence(parts.map(Value::from).collect()))
        }
        Form::Scalar | Form::List | Form::Map => flow(text),
    }
}

fn invalid(key: &Key, path: String, origin: String, problem: String) -> SettingsError {
    let problem = if key.secret { "the value (not shown) does not fit".to_owned() } else { problem };
    SettingsError::Invalid { key: path, origin, problem, remedy: format!("give {}", key.fits) }
}

fn unknown(key: String, origin: String) -> SettingsError {
    let nearest = keys::nearest(&key);
    SettingsError::Unknown { key, origin, nearest }
}

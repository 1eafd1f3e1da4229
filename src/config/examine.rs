//! What is wrong with a configuration: every mistake at once, in an operator's words.

use std::fmt;

use figment::{
    Figment, Metadata,
    error::{Actual, Kind},
    providers::{Format, Toml},
    value::{Dict, Value},
};

use super::{DEFAULTS, EXAMPLE, Settings};
use crate::spelling::nearest;

/// What the example lacks of tables that may be left out: their required settings.
const OPTIONAL_TABLES: &str = r#"
    [accounts.example]
    id = "444455556666"
    regions = ["eu-central-1"]
    [lifecycle.rules.example]
    team = "media"
    vaults = ["media-*"]
    days_after_initiation = 7
    schedule = "0 3 * * *"
    [server.tls]
    certificate_file = "tls.crt"
    private_key_file = "tls.key"
    [swagger_ui]
    client_id = "docs"
    authorization_url = "https://login.example.com/authorize"
    token_url = "https://login.example.com/token"
"#;

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting, as `section.key`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Where the value was set: a file or an environment variable.
    pub origin: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " (set in {origin})"),
            None => Ok(()),
        }
    }
}

/// A configuration, looked at as a whole.
pub struct Examined {
    /// The settings. If there are mistakes, these are for finding further ones only:
    /// what is wrong has been replaced or left out. `None` where nothing can be read.
    pub settings: Option<Settings>,
    /// Everything that is wrong.
    pub mistakes: Vec<Mistake>,
}

impl Examined {
    pub(super) fn of(layers: &Figment) -> Self {
        let mut mistakes = Vec::new();
        let mut settings = read(layers, &mut mistakes);
        if let Some(settings) = &mut settings {
            settings.check(&mut mistakes);
            settings.layers = layers.clone();
        }
        mistakes.dedup();
        Self { settings, mistakes }
    }

    pub(super) fn into_result(self) -> Result<Settings, Vec<Mistake>> {
        match self.settings {
            Some(settings) if self.mistakes.is_empty() => Ok(settings),
            _ => Err(self.mistakes),
        }
    }

    /// The settings, if `key` is not among the mistakes, nor what is in it or around it.
    pub fn sound(&self, key: &str) -> Option<&Settings> {
        let holds = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let wrong = |mistake: &Mistake| holds(key, &mistake.key) || holds(&mistake.key, key);
        self.settings.as_ref().filter(|_| !self.mistakes.iter().any(wrong))
    }
}

/// The settings of all layers. The first mistake stops a deserializer; to see the
/// others too, each is mended and the reading begun anew.
fn read(layers: &Figment, mistakes: &mut Vec<Mistake>) -> Option<Settings> {
    let example = Figment::from(Toml::string(DEFAULTS))
        .merge(Toml::string(EXAMPLE))
        .merge(Toml::string(OPTIONAL_TABLES));
    let mut extract = |layers: &Figment| {
        let unreadable = |error: figment::Error| {
            mistakes.push(Mistake {
                key: "configuration".into(),
                message: error.kind.to_string(),
                origin: error.metadata.as_ref().map(origin),
            });
        };
        layers.extract::<Value>().map_err(unreadable).ok()
    };
    let (mut value, example) = (extract(layers)?, extract(&example)?);
    loop {
        match value.deserialize::<Settings>() {
            Ok(settings) => return Some(settings),
            Err(error) => {
                let (path, mistake) = explain(&error, layers);
                mistakes.push(mistake);
                // Where a value cannot be mended, what holds it may be.
                let mut places = (1..=path.len()).rev().map(|depth| &path[..depth]);
                if !places.any(|place| mend(&mut value, place, &example)) {
                    return None;
                }
            }
        }
    }
}

/// Where a value came from, for a person: `file.toml`, `GATEWAY__AWS__REGION`.
fn origin(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(source) => source.to_string(),
        None => metadata.name.to_string(),
    }
}

/// The path of the offending value and the mistake as a sentence.
fn explain(error: &figment::Error, layers: &Figment) -> (Vec<String>, Mistake) {
    let mut path = error.path.clone();
    let message = match &error.kind {
        Kind::MissingField(field) => {
            path.push(field.to_string());
            "is required".to_owned()
        }
        Kind::UnknownField(field, known) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            match nearest(field, known) {
                Some(near) => format!("is no setting; did you mean \"{near}\"?"),
                None => format!("is no setting; the settings here are {}", known.join(", ")),
            }
        }
        Kind::UnknownVariant(given, known) => {
            format!("\"{given}\" is not one of {}", known.join(", "))
        }
        Kind::InvalidType(given, wanted) | Kind::InvalidValue(given, wanted) => {
            format!("write {}, not {}", in_toml(wanted), shown(given))
        }
        Kind::Message(message) if message.starts_with("relative URL without a base") => {
            "write a URL, such as \"https://login.example.com\"".to_owned()
        }
        Kind::Message(message) if message == "invalid socket address syntax" => {
            format!("write {}", in_toml("socket address"))
        }
        Kind::Message(message) if message == "invalid IP address syntax" => {
            "write a network, such as \"10.0.0.0/8\"".to_owned()
        }
        Kind::InvalidLength(_, wanted) => format!("write {}", in_toml(wanted)),
        kind => kind.to_string(),
    };
    (path.clone(), Mistake { origin: set_in(&path, layers), key: path.join("."), message })
}

/// Where the value at `path`, or the list that it stands in, was set.
fn set_in(path: &[String], layers: &Figment) -> Option<String> {
    let (last, list) = path.split_last()?;
    let path = if last.parse::<usize>().is_ok() { list } else { path };
    // Environment providers have no source; the variable's name says it best.
    let metadata = layers.find_metadata(&path.join("."))?;
    if metadata.name.contains("environment") {
        Some(format!("GATEWAY__{}", path.join("__").to_uppercase()))
    } else {
        Some(origin(metadata))
    }
}

/// What a deserializer expects, as one writes it.
fn in_toml(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, such as 10",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in quotes",
        "socket address" => "an address and a port, such as \"0.0.0.0:8080\"",
        "a sequence" => "a list, such as [\"a\", \"b\"]",
        "a duration" => "a duration, such as \"10s\"",
        "a map" => "a table",
        wanted if wanted.starts_with("struct ") => "a table",
        wanted if wanted.starts_with("enum ") => "a text in quotes",
        wanted => wanted,
    }
}

/// A value as it was written.
fn shown(given: &Actual) -> String {
    match given {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(value) => format!("\"{value}\""),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Replaces what stands at `path` by the example's value, or removes it where the
/// example has none. False where nothing changed.
fn mend(value: &mut Value, path: &[String], example: &Value) -> bool {
    let Some((head, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, dict) if rest.is_empty() => {
            match example.as_dict().and_then(|d| d.get(head)) {
                Some(good) => dict.insert(head.clone(), good.clone()).as_ref() != Some(good),
                None => dict.remove(head).is_some(),
            }
        }
        Value::Dict(_, dict) => {
            // Tables that the operator names, such as issuers, are modelled by the
            // example's first one.
            let model = example.as_dict().and_then(|d| d.get(head).or(d.values().next()));
            let place = dict.entry(head.clone()).or_insert_with(|| Value::from(Dict::new()));
            model.is_some_and(|model| mend(place, rest, model))
        }
        Value::Array(_, items) => match head.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

//! Generates the client. Progenitor reads OpenAPI 3.0 only, as JSON only what is called
//! `application/json`, and of each operation one kind of success, so the specification is
//! rewritten first.

use std::{env, error::Error, fs, path::Path};

use serde_json::{Map, Value, json};

const SPECIFICATION: &str = "../../../openapi/glacier-gateway.yaml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SPECIFICATION}");
    let mut document: Value = serde_yaml_ng::from_str(&fs::read_to_string(SPECIFICATION)?)?;
    older(&mut document);
    document["openapi"] = json!("3.0.3");
    let document = serde_json::from_value(document)?;
    let mut settings = progenitor::GenerationSettings::new();
    settings.with_interface(progenitor::InterfaceStyle::Builder);
    let client = progenitor::Generator::new(&settings).generate_tokens(&document)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("client.rs"), client.to_string())?;
    Ok(())
}

/// Says in the words of OpenAPI 3.0 what 3.1 says in others.
fn older(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(older),
        Value::Object(members) => {
            members.values_mut().for_each(older);
            nullable(members);
            // Of a map's keys, 3.0 has nothing to say.
            members.remove("propertyNames");
            // An operation has one kind of success for Progenitor: a body, if there is one.
            if members.contains_key("200") {
                members.remove("204");
            }
            if let Some(problem) = members.remove("application/problem+json") {
                members.insert("application/json".to_owned(), problem);
            }
        }
        _ => {}
    }
}

/// `null` is a type among others in 3.1, and a property of a schema in 3.0.
fn nullable(schema: &mut Map<String, Value>) {
    let null = json!({"type": "null"});
    let others: Option<Vec<Value>> = schema
        .get("oneOf")
        .and_then(Value::as_array)
        .map(|kinds| kinds.iter().filter(|kind| **kind != null).cloned().collect());
    if let Some(others) = others.filter(|others| others.len() == 1) {
        schema.remove("oneOf");
        schema.insert("allOf".to_owned(), others.into());
        schema.insert("nullable".to_owned(), json!(true));
    }
    if let Some([kind, Value::String(null)]) =
        schema.get("type").and_then(Value::as_array).map(Vec::as_slice)
        && null == "null"
    {
        let kind = kind.clone();
        schema.insert("type".to_owned(), kind);
        schema.insert("nullable".to_owned(), json!(true));
    }
}

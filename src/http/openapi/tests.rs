use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::*;

fn written() -> Value {
    serde_json::to_value(document()).unwrap()
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn the_document_tells_the_table_of_routes_and_nothing_else() {
    let document = written();
    let mut told = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, _) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            told.insert((path.clone(), method.to_uppercase()));
        }
    }
    let served: BTreeSet<_> =
        served().into_iter().map(|(path, verb, _)| (path.to_owned(), verb.as_str().to_owned())).collect();
    assert_eq!(told, served);
    let described: Vec<_> =
        descriptions().iter().map(|one| (one.path.to_owned(), one.verb.as_str().to_owned())).collect();
    assert_eq!(described.len(), served.len(), "a route is described twice");
    assert_eq!(described.into_iter().collect::<BTreeSet<_>>(), served);
}

/// Every `$ref`, with where it stands.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn references_resolve_and_every_shape_is_used() {
    let document = written();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let found: HashSet<&str> = found.into_iter().collect();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(found.contains(format!("#/components/schemas/{name}").as_str()), "{name} is not used");
    }
}

#[test]
fn the_document_is_whole() {
    let document = written();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["components"]["securitySchemes"]["Token"]["name"], "Authorization");
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let places: Vec<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}");
            assert!(tags.contains(&&operation["tags"][0]), "{at}");
            let in_path: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(in_path, places, "{at}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{at}");
            for (status, answer) in answers {
                assert!(!answer["description"].as_str().unwrap().is_empty(), "{at} {status}");
                assert!(status == "204" || answer["content"].is_object(), "{at} {status}");
            }
            let needs_token = !operation["security"].as_array().unwrap().is_empty();
            assert_eq!(needs_token, answers.contains_key("401") && !path.contains("activity"), "{at}");
        }
    }
}

/// Examples are checked against the shapes: each key is known, and each required one is there.
#[test]
fn examples_fit_their_shapes() {
    let document = written();
    let mut n_checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let bodies = operation["requestBody"]["content"].as_object();
            let answers = operation["responses"].as_object().unwrap().values();
            let contents = answers.filter_map(|answer| answer["content"].as_object()).chain(bodies);
            for content in contents.flat_map(|content| content.values()) {
                if content["example"].is_null() {
                    continue;
                }
                n_checked += 1;
                fits(&document, &content["schema"], &content["example"], &format!("{method} {path}"));
            }
        }
    }
    assert!(n_checked > 20, "{n_checked}");
}

fn fits(document: &Value, schema: &Value, example: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    if let Some(rows) = example.as_array() {
        for row in rows {
            fits(document, &schema["items"], row, at);
        }
        return;
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    let fields = example.as_object().unwrap_or_else(|| panic!("{at}: {example} is no object"));
    for (name, value) in fields {
        let property = properties.get(name).unwrap_or_else(|| panic!("{at}: {name} is not described"));
        fits(document, property, value, at);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing in the example");
    }
}

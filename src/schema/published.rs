//! The schema as tools read it: in the schema definition language, as introspection, and in the two short forms that
//! normalised caches are set up with.
//!
//! All of it follows from the code, is made once and never changes while the process lives. Printed by `lancewire schema`
//! and served by `http`.

use std::sync::LazyLock;

use async_graphql::SDLExportOptions;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};

/// Asks for everything that the specification's introspection knows.
const EVERYTHING: &str = "query IntrospectionQuery { __schema { queryType { name kind } mutationType { name kind } \
    subscriptionType { name kind } types { ...FullType } directives { name description isRepeatable locations \
    args(includeDeprecated: true) { ...InputValue } } } } \
    fragment FullType on __Type { kind name description specifiedByURL isOneOf \
    fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue } \
        type { ...TypeRef } isDeprecated deprecationReason } \
    inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef } \
    enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } \
    possibleTypes { ...TypeRef } } \
    fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason } \
    fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name \
    ofType { kind name ofType { kind name ofType { kind name } } } } } } } }";

static SDL: LazyLock<String> = LazyLock::new(|| {
    let options = SDLExportOptions::new().include_specified_by().prefer_single_line_descriptions();
    super::builder().finish().sdl_with_options(options)
});

static INTROSPECTION: LazyLock<Value> = LazyLock::new(|| {
    // Nothing in it waits, so it is there at once.
    let response = super::builder().finish().execute(EVERYTHING).now_or_never();
    let mut data = response.and_then(|response| response.data.into_json().ok()).unwrap_or_default();
    let types = data.pointer_mut("/__schema/types").and_then(Value::as_array_mut);
    for interface in types.into_iter().flatten().filter(|of| of["kind"] == "INTERFACE") {
        // Null would say that an interface can implement none; ours could, and implement none.
        interface["interfaces"] = json!([]);
    }
    data
});

/// The schema in the schema definition language, as `schema.graphql` holds it.
pub fn sdl() -> &'static str {
    &SDL
}

/// The answer to the introspection query, as code generators take it.
pub fn introspection() -> &'static Value {
    &INTROSPECTION
}

/// The object types behind each interface and union, as Apollo's `InMemoryCache` takes them for `possibleTypes`.
pub fn possible_types() -> Value {
    let names = |of: &Value| of["possibleTypes"].as_array().into_iter().flatten().map(name).collect::<Vec<_>>();
    let abstract_types = types().filter(|of| of["possibleTypes"].is_array());
    abstract_types.map(|of| (name(of), names(of).into())).collect::<Map<_, _>>().into()
}

/// The introspection without descriptions, inputs, enums and scalars, as urql's graphcache takes it for `schema`: what
/// `minifyIntrospectionQuery` of `@urql/introspection` makes.
pub fn graphcache() -> Value {
    let root = |field: &str| introspection()["__schema"][field].clone();
    let is_output = |of: &&Value| matches!(kind(of), "OBJECT" | "INTERFACE" | "UNION") && !name(of).starts_with("__");
    let mut types: Vec<Value> = types().filter(is_output).map(minified).collect();
    types.push(json!({ "kind": "SCALAR", "name": "Any" }));
    let [query, mutation, subscription] = ["queryType", "mutationType", "subscriptionType"].map(root);
    json!({ "__schema": {
        "queryType": query, "mutationType": mutation, "subscriptionType": subscription, "types": types, "directives": [],
    } })
}

fn types() -> impl Iterator<Item = &'static Value> {
    introspection()["__schema"]["types"].as_array().into_iter().flatten()
}

fn kind(of: &Value) -> &str {
    of["kind"].as_str().unwrap_or_default()
}

fn name(of: &Value) -> String {
    of["name"].as_str().unwrap_or_default().to_owned()
}

fn minified(of: &Value) -> Value {
    let list = |field: &str| of[field].as_array().into_iter().flatten();
    let named = |of: &Value| json!({ "kind": of["kind"], "name": of["name"] });
    let field = |field: &Value| {
        let arguments = field["args"].as_array().into_iter().flatten();
        let arguments = arguments.map(|of| json!({ "name": of["name"], "type": reference(&of["type"]) }));
        json!({ "name": field["name"], "type": reference(&field["type"]), "args": arguments.collect::<Vec<_>>() })
    };
    let mut all = Map::from_iter([("kind".to_owned(), of["kind"].clone()), ("name".to_owned(), of["name"].clone())]);
    if kind(of) != "UNION" {
        all.insert("fields".to_owned(), list("fields").map(field).collect());
        all.insert("interfaces".to_owned(), list("interfaces").map(named).collect());
    }
    if kind(of) != "OBJECT" {
        all.insert("possibleTypes".to_owned(), list("possibleTypes").map(named).collect());
    }
    all.into()
}

/// A type where it is used; what has no fields is told from nothing else.
fn reference(of: &Value) -> Value {
    match kind(of) {
        wrapper @ ("NON_NULL" | "LIST") => json!({ "kind": wrapper, "ofType": reference(&of["ofType"]) }),
        "SCALAR" | "ENUM" | "INPUT_OBJECT" => json!({ "kind": "SCALAR", "name": "Any" }),
        _ => of.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_abstract_type_names_its_object_types() {
        let possible = possible_types();
        let count = |of: &str| possible[of].as_array().map_or(0, Vec::len);
        assert!(count("Node") >= 8 && count("UserError") >= 9 && count("Event") >= 5, "{possible:#}");
        assert_eq!(possible["AuthError"], json!(["InputError", "TooManyAttemptsError"]));
        assert_eq!(possible.get("Job"), None);
    }
}

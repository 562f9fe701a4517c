//! Variables against the types an operation declares for them.
//!
//! Owns what GraphQL calls coercing variable values (spec 6.1.2), as far as the document alone tells: missing and null
//! values, lists, and the five built-in scalars; and the limit on list lengths, in variables and in literals.
//! Called by [`super::document::prepare`] before anything runs.
//!
//! Own code, because async-graphql has no such step: it finds a missing variable when the field that uses it resolves,
//! after others ran, and reports it as that field's error. Input objects, enums and custom scalars are checked by its
//! validation, which sees the schema.

use std::{convert::Infallible, fmt::Write as _};

use async_graphql::{
    Positioned, ServerError, Value, Variables,
    parser::types::{BaseType, Directive, ExecutableDocument, OperationDefinition, Selection, SelectionSet, Type},
};

use super::{
    errors::ErrorCode,
    limits::{exceeded, failure},
};

/// Values that cannot be what the operation declares; empty when all can.
pub(super) fn mistaken(operation: &OperationDefinition, variables: &Variables) -> Vec<ServerError> {
    let mut errors = Vec::new();
    for definition in &operation.variable_definitions {
        let (name, declared) = (&definition.node.name.node, &definition.node.var_type.node);
        let problem = match variables.get(name) {
            Some(value) => mismatch(value, declared, &mut format!("${name}")),
            None if declared.nullable || definition.node.default_value.is_some() => None,
            None => Some(format!("Variable \"${name}\" of required type \"{declared}\" was not provided.")),
        };
        if let Some(message) = problem {
            errors.push(failure(ErrorCode::BadUserInput, message, Some(definition.pos)));
        }
    }
    errors
}

/// Says what is wrong, never what the value is: it may be a password.
fn mismatch(value: &Value, declared: &Type, place: &mut String) -> Option<String> {
    if matches!(value, Value::Null) {
        let message = || format!("Variable \"{place}\" of non-null type \"{declared}\" must not be null.");
        return (!declared.nullable).then(message);
    }
    let expected = match &declared.base {
        BaseType::List(item) => {
            // A single value stands for a list of one (spec 3.12).
            let Value::List(values) = value else { return mismatch(value, item, place) };
            let length = place.len();
            return values.iter().enumerate().find_map(|(index, value)| {
                place.truncate(length);
                // Writing to a string does not fail.
                let _ = write!(place, ".{index}");
                mismatch(value, item, place)
            });
        }
        BaseType::Named(name) => name.as_str(),
    };
    let fits = match (expected, value) {
        ("Int", Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        ("ID", Value::Number(number)) => !number.is_f64(),
        ("Float", Value::Number(_)) | ("String" | "ID", Value::String(_)) | ("Boolean", Value::Boolean(_)) => true,
        ("Int" | "Float" | "String" | "ID" | "Boolean", _) => false,
        _ => true,
    };
    let found = match value {
        Value::Null => "null",
        Value::Number(_) => "a number out of range or with a fraction",
        Value::String(_) => "a string",
        Value::Boolean(_) => "a boolean",
        Value::Binary(_) | Value::Enum(_) => "something else",
        Value::List(_) => "a list",
        Value::Object(_) => "an object",
    };
    let found = if matches!((expected, value), ("String" | "Boolean", Value::Number(_))) { "a number" } else { found };
    (!fits).then(|| format!("Variable \"{place}\" must be of type \"{expected}\", but is {found}."))
}

/// The error of the longest list in variables, their defaults and literals, if it is longer than `limit`.
pub(super) fn long_list(document: &ExecutableDocument, variables: &Variables, limit: u32) -> Option<ServerError> {
    let mut longest = variables.values().map(longest_list).max().unwrap_or_default();
    for (_, operation) in document.operations.iter() {
        for definition in &operation.node.variable_definitions {
            longest = longest.max(definition.node.default_value.as_ref().map_or(0, |value| longest_list(&value.node)));
            longest = longest.max(in_directives(&definition.node.directives));
        }
        longest = longest.max(in_directives(&operation.node.directives));
        longest = longest.max(in_selections(&operation.node.selection_set.node));
    }
    for fragment in document.fragments.values() {
        longest = longest.max(in_directives(&fragment.node.directives));
        longest = longest.max(in_selections(&fragment.node.selection_set.node));
    }
    let (limit, longest) = (u64::from(limit), longest as u64);
    let fix = "Send the items in several operations.";
    (longest > limit).then(|| exceeded(ErrorCode::OperationTooComplex, "items in one input list", limit, longest, fix))
}

fn longest_list(value: &Value) -> usize {
    match value {
        Value::List(items) => items.iter().map(longest_list).max().unwrap_or_default().max(items.len()),
        Value::Object(fields) => fields.values().map(longest_list).max().unwrap_or_default(),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Boolean(_) | Value::Binary(_) | Value::Enum(_) => 0,
    }
}

/// Follows no spread: each fragment is looked at once, by itself. Nesting is bounded by the scan.
fn in_selections(set: &SelectionSet) -> usize {
    let of_selection = |selection: &Positioned<Selection>| {
        let own = match &selection.node {
            Selection::Field(field) => {
                let arguments = field.node.arguments.iter().map(|(_, value)| {
                    let Ok(value) = value.node.clone().into_const_with(|_| Ok::<_, Infallible>(Value::Null));
                    longest_list(&value)
                });
                arguments.max().unwrap_or_default().max(in_selections(&field.node.selection_set.node))
            }
            Selection::InlineFragment(inline) => in_selections(&inline.node.selection_set.node),
            Selection::FragmentSpread(_) => 0,
        };
        own.max(in_directives(selection.node.directives()))
    };
    set.items.iter().map(of_selection).max().unwrap_or_default()
}

fn in_directives(directives: &[Positioned<Directive>]) -> usize {
    let arguments = directives.iter().flat_map(|directive| &directive.node.arguments);
    let lengths = arguments.map(|(_, value)| {
        let Ok(value) = value.node.clone().into_const_with(|_| Ok::<_, Infallible>(Value::Null));
        longest_list(&value)
    });
    lengths.max().unwrap_or_default()
}

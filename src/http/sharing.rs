//! Which subscriptions are answered together: those that ask for the same, wherever each of them resumes.
//!
//! Owns how [`SharingKey`]s are made. Two that differ in their cursor alone have one key, be it a variable or written
//! into the document. When in doubt there are two keys: that costs an execution, and never an answer that was meant for
//! others. Called by [`operations`](super::operations) when a subscription joins.

use std::borrow::Cow;

use async_graphql::Name;
use async_graphql_value::Value as Literal;

use crate::{graphql::language::Prepared, realtime::SharingKey};

/// What two subscriptions must have in common to be answered alike: the document, the operation and its variables, but
/// for what says from where to resume.
pub(super) fn sharing_key(prepared: &Prepared, query: &str) -> SharingKey {
    let mut variables = prepared.variables.clone();
    let (query, resumes_by) = without_after(prepared, query);
    if let Some(name) = resumes_by {
        variables.remove(&Name::new(name));
    }
    let variables = serde_json::to_string(&variables).unwrap_or_default();
    let name = prepared.operation_name.as_deref().unwrap_or_default();
    SharingKey::new(&format!("{name}\u{0}{variables}\u{0}{query}"))
}

/// The text of the document without the literal cursor of its root field; or the name of the variable that stands
/// there, if it does nothing else.
fn without_after<'a>(prepared: &Prepared, query: &'a str) -> (Cow<'a, str>, Option<String>) {
    let whole = (Cow::Borrowed(query), None);
    let Some(value) = prepared.root_argument("after") else { return whole };
    match &value.node {
        Literal::Variable(name) => {
            // Declared once, used once: here.
            let written = format!("${name}");
            let used = query.match_indices(&written);
            let ends = |at: usize| !query[at + 1 + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let only_here = used.filter(|(at, _)| ends(*at)).count() == 2;
            if only_here { (Cow::Borrowed(query), Some(name.to_string())) } else { whole }
        }
        Literal::String(cursor) => {
            let line = query.lines().nth(value.pos.line.saturating_sub(1)).unwrap_or_default();
            let literal = format!("\"{cursor}\"");
            let column = line.char_indices().nth(value.pos.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
            // A literal with escapes, or in three quotes, is shared with none but its like.
            if !line[column..].starts_with(&literal) || query.matches(&literal).count() != 1 {
                return whole;
            }
            (Cow::Owned(query.replacen(&literal, "null", 1)), None)
        }
        _ => whole,
    }
}

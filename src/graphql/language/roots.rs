//! What stands at the root of an operation.
//!
//! Owns the list of an operation's root fields, the rule that a subscription has one (spec 5.2.4), and that some
//! mutations come alone. Called by [`super::documents`] and [`super::Language::read`]. The selections are unfolded already.

use async_graphql::{
    Pos, Positioned, ServerError,
    parser::types::{Selection, SelectionSet},
};

use crate::graphql::{
    errors::ErrorCode,
    limits::{exceeded, failure},
};

/// A root field: fields that are merged in the answer are one.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// What it is called in the answer.
    pub(super) key: String,
    /// What it is called in the schema.
    pub(super) name: String,
    pub(super) at: Pos,
}

/// The root fields in the order of the answer.
pub(super) fn collect(set: &SelectionSet) -> Vec<Root> {
    fn walk(set: &SelectionSet, roots: &mut Vec<Root>) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let key = field.node.response_key().node.as_str();
                    if !roots.iter().any(|root| root.key == key) {
                        let name = field.node.name.node.to_string();
                        roots.push(Root { key: key.to_owned(), name, at: field.pos });
                    }
                }
                Selection::InlineFragment(inline) => walk(&inline.node.selection_set.node, roots),
                // Unfolded.
                Selection::FragmentSpread(_) => {}
            }
        }
    }
    let mut roots = Vec::new();
    walk(set, &mut roots);
    roots
}

/// What is wrong with the roots of a subscription.
pub(super) fn check_subscription(set: &SelectionSet, roots: &[Root]) -> Vec<ServerError> {
    let invalid = |message: String, at: Pos| failure(ErrorCode::GraphqlValidationFailed, message, Some(at));
    let mut errors = Vec::new();
    if let Some(at) = conditional(set) {
        errors.push(invalid("A subscription must not use @skip or @include at its root.".to_owned(), at));
    }
    if let [_, second, ..] = roots {
        errors.push(invalid("A subscription must select only one root field.".to_owned(), second.at));
    } else if let Some(root) = roots.iter().find(|root| root.name.starts_with("__")) {
        errors.push(invalid(format!("A subscription must not select \"{}\" at its root.", root.name), root.at));
    }
    errors
}

/// The first selection of the root level with a condition.
fn conditional(set: &SelectionSet) -> Option<Pos> {
    set.items.iter().find_map(|selection| {
        let own = selection.node.directives().first().map(|directive: &Positioned<_>| directive.pos);
        own.or_else(|| match &selection.node {
            Selection::InlineFragment(inline) => conditional(&inline.node.selection_set.node),
            Selection::Field(_) | Selection::FragmentSpread(_) => None,
        })
    })
}

/// Refuses an operation with more than one of the mutations that must come alone.
pub(super) fn check_single(roots: &[Root], single: &[&str]) -> Result<(), ServerError> {
    let guarded: Vec<_> = roots.iter().filter(|root| single.contains(&root.name.as_str())).collect();
    let [_, second, ..] = guarded[..] else { return Ok(()) };
    let names: Vec<_> = guarded.iter().map(|root| root.name.as_str()).collect();
    let what = format!("mutations that must come alone ({})", names.join(", "));
    let fix = "Send each in a request of its own.";
    let mut error = exceeded(ErrorCode::OperationTooComplex, &what, 1, guarded.len() as u64, fix);
    error.locations = vec![second.at];
    Err(error)
}

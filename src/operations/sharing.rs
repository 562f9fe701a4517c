//! Which subscriptions are answered together: those that select the same, wherever each of them resumes.
//!
//! Owns how [`SharingKey`]s are made. Its two parts are texts in a form of our own, made from the operation as it is
//! executed: fragments in place of their spreads, conditions decided, values in place of variables. So white space,
//! comments, directives, the names of operations, fragments and variables, and the order of arguments make no
//! difference; aliases and the order of fields do, since they are in the answer.
//!
//! - The *selection* is all but the arguments of the root field: what is executed
//!   ([`Prepared::for_events`](crate::graphql::language::Prepared::for_events)).
//! - The *interest* is those arguments, but for `after`, which says from where to resume.
//!
//! When in doubt there are two keys: that costs an execution, and never an answer that was meant for others. Called by
//! [`operations`](super::operations) when a subscription joins.

use std::fmt::Write as _;

use async_graphql::{
    Name, Positioned, Value, Variables,
    parser::types::{Directive, Selection, SelectionSet},
};
use async_graphql_value::Value as Literal;

use crate::{graphql::language::Prepared, realtime::SharingKey};

/// What two subscriptions must have in common to be answered alike.
pub(super) fn sharing_key(prepared: &Prepared) -> SharingKey {
    let mut selection = Text { text: String::new(), variables: &prepared.variables };
    let mut interest = Text { text: String::new(), variables: &prepared.variables };
    for root in &prepared.selections().items {
        if let Selection::Field(root) = &root.node {
            selection.field_names(root.node.alias.as_ref(), &root.node.name);
            selection.directives(&root.node.directives);
            selection.set(&root.node.selection_set.node);
            interest.arguments(&root.node.arguments, |name| name == "after");
        } else {
            // Not what validation lets through.
            selection.selection(&root.node);
        }
    }
    SharingKey::of(&selection.text, &interest.text)
}

/// A value as it stands in the document, or as it came in a variable.
#[derive(Clone, Copy)]
enum Given<'a> {
    Literal(&'a Literal),
    Value(&'a Value),
}

/// A text in which everything is told apart that is executed differently. Names are names of the language, and strings
/// are quoted as in JSON, so no value can be taken for another one.
struct Text<'a> {
    text: String,
    variables: &'a Variables,
}

impl Text<'_> {
    fn set(&mut self, set: &SelectionSet) {
        self.text.push('{');
        for selection in &set.items {
            self.selection(&selection.node);
        }
        self.text.push('}');
    }

    fn selection(&mut self, selection: &Selection) {
        match selection {
            Selection::Field(field) => {
                self.field_names(field.node.alias.as_ref(), &field.node.name);
                self.arguments(&field.node.arguments, |_| false);
                self.directives(&field.node.directives);
                if !field.node.selection_set.node.items.is_empty() {
                    self.set(&field.node.selection_set.node);
                }
                self.text.push(' ');
            }
            Selection::InlineFragment(inline) => {
                self.text.push_str("...");
                if let Some(condition) = &inline.node.type_condition {
                    self.text.push_str(&condition.node.on.node);
                }
                self.directives(&inline.node.directives);
                self.set(&inline.node.selection_set.node);
            }
            // Unfolded.
            Selection::FragmentSpread(spread) => self.debug(spread),
        }
    }

    fn field_names(&mut self, alias: Option<&Positioned<Name>>, name: &Positioned<Name>) {
        // An alias that is the name makes no difference.
        self.text.push_str(alias.map_or(&name.node, |alias| &alias.node));
        self.text.push(':');
        self.text.push_str(&name.node);
    }

    fn arguments(&mut self, arguments: &[(Positioned<Name>, Positioned<Literal>)], left_out: impl Fn(&str) -> bool) {
        let mut given: Vec<_> = arguments
            .iter()
            .filter(|(name, value)| !left_out(&name.node) && self.has_value(&value.node))
            .map(|(name, value)| (name.node.as_str(), &value.node))
            .collect();
        given.sort_unstable_by_key(|(name, _)| *name);
        self.text.push('(');
        for (name, value) in given {
            self.text.push_str(name);
            self.text.push('=');
            self.given(Given::Literal(value));
            self.text.push(' ');
        }
        self.text.push(')');
    }

    /// There are none in what is executed; if there were, they would make a difference.
    fn directives(&mut self, directives: &[Positioned<Directive>]) {
        for directive in directives {
            self.text.push('@');
            self.debug(directive);
        }
    }

    fn debug(&mut self, anything: impl std::fmt::Debug) {
        // Writing into a text cannot fail.
        let _ = write!(self.text, "{anything:?}");
    }

    /// An argument whose variable has no value is not given.
    fn has_value(&self, value: &Literal) -> bool {
        match value {
            Literal::Variable(name) => self.variables.contains_key(name),
            _ => true,
        }
    }

    fn given(&mut self, given: Given<'_>) {
        match given {
            Given::Literal(Literal::Variable(name)) => match self.variables.get(name) {
                Some(value) => self.given(Given::Value(value)),
                None => self.text.push('$'),
            },
            Given::Literal(Literal::List(items)) => self.list(items.iter().map(Given::Literal)),
            Given::Value(Value::List(items)) => self.list(items.iter().map(Given::Value)),
            Given::Literal(Literal::Object(fields)) => {
                let fields = fields.iter().filter(|(_, value)| self.has_value(value));
                self.object(fields.map(|(name, value)| (name.as_str(), Given::Literal(value))).collect());
            }
            Given::Value(Value::Object(fields)) => {
                self.object(fields.iter().map(|(name, value)| (name.as_str(), Given::Value(value))).collect());
            }
            Given::Literal(Literal::Null) | Given::Value(Value::Null) => self.text.push_str("null"),
            Given::Literal(Literal::Boolean(value)) | Given::Value(Value::Boolean(value)) => {
                self.text.push_str(if *value { "true" } else { "false" });
            }
            Given::Literal(Literal::Number(number)) | Given::Value(Value::Number(number)) => {
                self.text.push_str(&number.to_string());
            }
            Given::Literal(Literal::String(text)) | Given::Value(Value::String(text)) => {
                self.text.push_str(&serde_json::Value::from(text.as_str()).to_string());
            }
            // One that comes in a variable is a text: which of them it is does not follow from the value alone.
            Given::Literal(Literal::Enum(name)) | Given::Value(Value::Enum(name)) => {
                self.text.push('%');
                self.text.push_str(name);
            }
            Given::Literal(Literal::Binary(bytes)) | Given::Value(Value::Binary(bytes)) => self.debug(bytes),
        }
    }

    fn list<'v>(&mut self, items: impl Iterator<Item = Given<'v>>) {
        self.text.push('[');
        for item in items {
            self.given(item);
            self.text.push(' ');
        }
        self.text.push(']');
    }

    fn object(&mut self, mut fields: Vec<(&str, Given<'_>)>) {
        fields.sort_unstable_by_key(|(name, _)| *name);
        self.text.push('{');
        for (name, value) in fields {
            self.text.push_str(name);
            self.text.push('=');
            self.given(value);
            self.text.push(' ');
        }
        self.text.push('}');
    }
}

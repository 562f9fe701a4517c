//! The cost of an operation, as far as its text tells.
//!
//! Owns the [`Price`] of an operation by the rules in [`crate::graphql::limits`]: it is worked out once for a text, and
//! what depends on variables is put in for each request. Made by [`super::operation`] from the unfolded selections:
//! fields that are merged count each for itself, and so do those that `@skip` and `@include` may take out.

use async_graphql::{
    Name, Value, Variables,
    parser::types::{Field, Selection, SelectionSet},
};
use async_graphql_value::Value as Literal;
use bluejay_core::{
    IntegerValue, Value as _, ValueReference,
    definition::{ArgumentsDefinition as _, FieldDefinition as _, InputValueDefinition as _, SchemaDefinition as _},
};

use super::{
    guard::introspection_factor,
    types::{self, Named, Schema},
};

/// What the page size of a connection counts as when it is not given.
const DEFAULT_PAGE: u64 = 20;

/// The largest page the API gives; asking for more is refused where the argument is read.
const LARGEST_PAGE: u64 = 100;

/// Values of introspection that cost a point.
const VALUES_OF_A_POINT: u64 = 10_000;

/// The points of a selection set: those that are always the same, and those of parts that depend on variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Price {
    fixed: u64,
    scaled: Vec<Scaled>,
}

/// A field whose page size is a variable, with all below it.
#[derive(Clone, Debug)]
struct Scaled {
    first: Option<Amount>,
    last: Option<Amount>,
    ids: Option<Amount>,
    is_connection: bool,
    below: Price,
}

/// The value of an argument that multiplies.
#[derive(Clone, Debug)]
enum Amount {
    Known(Option<u64>),
    /// A variable, and what the argument is without a value for it.
    Variable(Name, Option<u64>),
}

impl Price {
    /// The price of a selection set.
    pub(super) fn of(schema: &'static Schema, parent: Named<'static>, set: &SelectionSet) -> Self {
        price(schema, parent, set).0
    }

    /// The points with these variables.
    pub(super) fn points(&self, variables: &Variables) -> u64 {
        self.scaled.iter().fold(self.fixed, |points, scaled| points.saturating_add(scaled.points(variables)))
    }

    fn add(&mut self, other: Self) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.scaled.extend(other.scaled);
    }

    /// How many parts it has, for the cache.
    pub(super) fn parts(&self) -> usize {
        self.scaled.iter().map(|scaled| 1 + scaled.below.parts()).sum()
    }
}

impl Scaled {
    fn points(&self, variables: &Variables) -> u64 {
        let page = |amount: &Option<Amount>| amount.as_ref()?.value(variables, page_size);
        let pages = [page(&self.first), page(&self.last)].into_iter().flatten();
        let page = pages.max().or(self.is_connection.then_some(DEFAULT_PAGE)).unwrap_or(1);
        let ids = self.ids.as_ref().and_then(|ids| ids.value(variables, list_length)).unwrap_or(1);
        self.below.points(variables).saturating_mul(page.saturating_mul(ids)).saturating_add(1)
    }

    fn is_known(&self) -> bool {
        let known = |amount: &Option<Amount>| !matches!(amount, Some(Amount::Variable(..)));
        known(&self.first) && known(&self.last) && known(&self.ids) && self.below.scaled.is_empty()
    }
}

impl Amount {
    fn value(&self, variables: &Variables, read: fn(&Value) -> Option<u64>) -> Option<u64> {
        match self {
            Self::Known(value) => *value,
            Self::Variable(name, otherwise) => variables.get(name).map_or(*otherwise, read),
        }
    }
}

/// The price of a set, and whether it asks for what only connections have.
fn price(schema: &'static Schema, parent: Named<'static>, set: &SelectionSet) -> (Price, bool) {
    let (mut all, mut is_connection) = (Price::default(), false);
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                let name = field.node.name.node.as_str();
                is_connection |= matches!(name, "edges" | "nodes" | "pageInfo");
                all.add(of_field(schema, parent, &field.node));
            }
            Selection::InlineFragment(inline) => {
                let on = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                let inner = on.and_then(|on| schema.get_type_definition(on)).unwrap_or(parent);
                let (inner, connection) = price(schema, inner, &inline.node.selection_set.node);
                is_connection |= connection;
                all.add(inner);
            }
            // Unfolded.
            Selection::FragmentSpread(_) => {}
        }
    }
    (all, is_connection)
}

fn of_field(schema: &'static Schema, parent: Named<'static>, field: &Field) -> Price {
    let name = field.name.node.as_str();
    if matches!(name, "__schema" | "__type") {
        let values = values(&field.selection_set.node).saturating_mul(introspection_factor(name)).saturating_add(1);
        return Price { fixed: 1 + values / VALUES_OF_A_POINT, scaled: Vec::new() };
    }
    if field.selection_set.node.items.is_empty() {
        return Price::default();
    }
    let definition = types::field(schema, &parent, name);
    let inner = definition.and_then(|definition| types::result(schema, definition)).unwrap_or(parent);
    let (below, is_connection) = price(schema, inner, &field.selection_set.node);
    let amount = |name: &str, read: fn(&Value) -> Option<u64>| {
        let declared = definition.and_then(|field| field.arguments_definition()?.get(name));
        let default = declared.and_then(|argument| argument.default_value()).and_then(|value| match value.as_ref() {
            ValueReference::Integer(number) => IntegerValue::as_u64(number),
            _ => None,
        });
        match field.get_argument(name).map(|value| &value.node) {
            None => default.map(|default| Amount::Known(Some(default))),
            Some(Literal::Variable(variable)) => Some(Amount::Variable(variable.clone(), default)),
            Some(literal) => Some(Amount::Known(measure(literal, read))),
        }
    };
    let scaled = Scaled {
        first: amount("first", page_size),
        last: amount("last", page_size),
        ids: amount("ids", list_length),
        is_connection,
        below,
    };
    if scaled.is_known() {
        return Price { fixed: scaled.points(&Variables::default()), scaled: Vec::new() };
    }
    Price { fixed: 0, scaled: vec![scaled] }
}

/// Reads a literal, in which variables may stand for items.
fn measure(literal: &Literal, read: fn(&Value) -> Option<u64>) -> Option<u64> {
    match literal {
        Literal::List(items) => read(&Value::List(vec![Value::Null; items.len()])),
        Literal::Number(number) => read(&Value::Number(number.clone())),
        // A single value stands for a list of one.
        _ => None,
    }
}

fn page_size(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    // Zero and less are refused by the resolver, as is more than the largest page.
    Some(number.as_u64().unwrap_or_default().clamp(1, LARGEST_PAGE))
}

fn list_length(value: &Value) -> Option<u64> {
    let Value::List(items) = value else { return None };
    Some((items.len() as u64).max(1))
}

/// About how many values an introspection returns.
fn values(set: &SelectionSet) -> u64 {
    set.items.iter().fold(0, |sum: u64, selection| {
        sum.saturating_add(match &selection.node {
            Selection::Field(field) => {
                let below = values(&field.node.selection_set.node);
                below.saturating_mul(introspection_factor(&field.node.name.node)).saturating_add(1)
            }
            Selection::InlineFragment(inline) => values(&inline.node.selection_set.node),
            Selection::FragmentSpread(_) => 0,
        })
    })
}

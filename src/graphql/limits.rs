//! What one operation may ask for, and what it costs.
//!
//! Owns the [`Limits`], their errors and the meter that measures a parsed document. [`super::document::prepare`] calls
//! it for every operation, over every transport.
//!
//! # Cost, for users of the API
//!
//! An operation costs points. They are counted before it runs, from its text and variables alone:
//!
//! - a leaf field costs 0, a field with a selection set 1;
//! - everything below a field with `first` or `last` is multiplied by that number (1 to 100). A connection (a field
//!   below which `edges`, `nodes` or `pageInfo` is asked for) without either counts as 20;
//! - everything below a field with a list `ids` is multiplied by the list's length;
//! - each root field of a mutation adds 10;
//! - `__schema` and `__type` cost 1 and a point for about 10,000 values: the query of GraphiQL costs 13;
//! - each whole KiB of the text after the first four adds 1, whatever is in it: comments are read, too. Values in
//!   variables are free.
//!
//! Parts that `@skip` or `@include` take out count all the same. No operation costs less than 1 point.
//! Example: `{ jobs(first: 50) { edges { node { client { name } } } } }` costs 1 + 50 × 3 = 151.
//!
//! # Why own code
//!
//! async-graphql's limits walk fragments again at each spread: 18 fragments that spread the next one twice (674 bytes)
//! take 360 ms, and twice that with each more. Here each fragment is measured once, so the time is linear in the text;
//! and since what passes is small when expanded, the walks of validation are too.

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned, ServerError, Value, Variables,
    parser::types::{
        Directive, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
    },
};
use serde::Deserialize;

use super::errors::ErrorCode;

/// Levels of fields below `__schema` or `__type`, these included. The standard query, with nine `ofType`, needs 15.
const INTROSPECTION_DEPTH: u32 = 15;

/// About how many values introspection may return in one operation. The standard query is estimated at 124,000.
const INTROSPECTION_VALUES: u32 = 150_000;

/// Selection sets inside each other, fragments included. async-graphql refuses one more, in less helpful words.
const MAX_LEVELS: u32 = 32;

/// What the page size of a connection counts as when it is not given.
const DEFAULT_PAGE: u64 = 20;

/// The largest page the API gives; asking for more is refused where the argument is read.
const LARGEST_PAGE: u64 = 100;

/// What a root field of a mutation adds to the cost.
pub(super) const MUTATION_POINTS: u64 = 10;

/// How many bytes of a document's text are free, and how many more cost a point: reading them takes as long as what else
/// costs one.
const FREE_BYTES: usize = 4096;
const BYTES_OF_A_POINT: usize = 1024;

/// What reading a document costs by the length of its text, in points: nothing for most. On top of what the operation in
/// it costs, and known before it is read.
pub fn reading_cost(text: &str) -> u32 {
    u32::try_from(text.len().saturating_sub(FREE_BYTES) / BYTES_OF_A_POINT).unwrap_or(u32::MAX)
}

/// What one operation may ask for. All are upper bounds, the number itself is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Lexical tokens of the document.
    pub tokens: u32,
    /// Levels of fields, counted from the root. Introspection has its own limit of 15.
    pub depth: u32,
    /// Points of the operation, by the rule in this module's description.
    pub cost: u32,
    /// Fields and fragments of all operations in the document, each counted as often as spreads repeat it.
    pub fields: u32,
    /// Aliases in the operation, repeated ones counted each time.
    pub aliases: u32,
    /// Root fields of the operation, repeated ones counted each time.
    pub root_fields: u32,
    /// Directives of all operations in the document, repeated ones counted each time.
    pub directives: u32,
    /// Fragment definitions in the document.
    pub fragments: u32,
    /// Items of each list in arguments and variables.
    pub list_items: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens: 2_000,
            depth: 12,
            cost: 2_000,
            fields: 1_000,
            aliases: 30,
            root_fields: 10,
            directives: 20,
            fragments: 50,
            list_items: 100,
        }
    }
}

/// A coded error of a whole request: it has a place in the document or none, but never a path.
pub fn failure(code: ErrorCode, message: impl Into<String>, at: Option<Pos>) -> ServerError {
    let mut error = ServerError::new(message, at);
    error.extensions.get_or_insert_default().set("code", code.as_str());
    error
}

/// The error of a limit: what, how much is allowed, how much it was, and what to do.
pub(super) fn exceeded(code: ErrorCode, what: &str, limit: u64, actual: u64, fix: &str) -> ServerError {
    let message = format!("This operation has {actual} {what}; the limit is {limit}. {fix}");
    let mut error = failure(code, message, None);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("limit", limit);
    extensions.set("actual", actual);
    error
}

/// What the chosen operation amounts to, once it is known to be within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) cost: u32,
    pub(super) fields: u32,
    pub(super) depth: u32,
}

/// Measures all operations of `document` and checks them, and the chosen one in particular, against `limits`.
pub(super) fn measure(
    document: &ExecutableDocument,
    chosen: &Positioned<OperationDefinition>,
    variables: &Variables,
    limits: &Limits,
) -> Result<Measured, Vec<ServerError>> {
    let check = |code, what, limit: u32, actual: u64, fix| {
        let limit = u64::from(limit);
        (actual > limit).then(|| exceeded(code, what, limit, actual, fix))
    };
    let complex = |what, limit, actual, fix| check(ErrorCode::OperationTooComplex, what, limit, actual, fix);
    let deep = |what, limit, actual, fix| check(ErrorCode::OperationTooDeep, what, limit, actual, fix);

    let defined = document.fragments.len() as u64;
    let fix = "Inline those that are used once, or split the operation.";
    if let Some(error) = complex("fragments", limits.fragments, defined, fix) {
        return Err(vec![error]);
    }

    let definitions = chosen.node.variable_definitions.iter().filter_map(|definition| {
        let default = definition.node.default_value.as_ref()?;
        Some((&definition.node.name.node, &default.node))
    });
    let mut meter = Meter {
        fragments: &document.fragments,
        variables,
        defaults: definitions.collect(),
        measured: HashMap::new(),
        errors: Vec::new(),
    };
    let mut all = Measure::default();
    for (_, operation) in document.operations.iter() {
        all.add(&meter.operation(&operation.node));
    }
    let mut this = meter.operation(&chosen.node);
    if chosen.node.ty == async_graphql::parser::types::OperationType::Mutation {
        this.cost = this.cost.saturating_add(this.top.saturating_mul(MUTATION_POINTS));
    }

    let mut errors: Vec<ServerError> = [
        deep("levels of selection sets", MAX_LEVELS, all.levels, "Nest fewer fields and fragments."),
        complex("fields and fragments", limits.fields, all.fields, "Ask for fewer, or send several operations."),
        deep("levels of fields", limits.depth, all.depth, "Ask for the inner objects by `node(id:)`."),
        deep("levels of introspection", INTROSPECTION_DEPTH, all.introspection_depth, "Follow fewer `ofType`."),
        complex("values of introspection", INTROSPECTION_VALUES, all.introspection_values, "Ask for fewer types."),
        complex("directives", limits.directives, all.directives, "Send the operation without the parts not wanted."),
        complex("aliases", limits.aliases, this.aliases, "Use `nodes(ids:)`, or send several operations."),
        complex("root fields", limits.root_fields, this.top, "Send several operations."),
        complex("points", limits.cost, this.cost, "Ask for smaller pages: `first` multiplies all below it."),
    ]
    .into_iter()
    .flatten()
    .collect();
    meter.errors.dedup();
    errors.append(&mut meter.errors);
    if errors.is_empty() {
        // Validation reports these too, but walks them first, each from every place that spreads it.
        errors.extend(meter.unused());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Measured {
        cost: small(this.cost.max(1)),
        fields: small(this.fields),
        depth: small(this.depth.max(this.introspection_depth)),
    })
}

/// What a selection set amounts to when its fragments are expanded. Numbers saturate: they double with each fragment.
#[derive(Clone, Copy, Default)]
struct Measure {
    fields: u64,
    aliases: u64,
    directives: u64,
    /// Selection sets inside each other, this one included.
    levels: u64,
    /// Levels of fields, without those below introspection.
    depth: u64,
    cost: u64,
    /// Fields of this level, those in fragments included.
    top: u64,
    /// Whether this level asks for what only connections have.
    connection: bool,
    /// About how many values this returns, if it is below an introspection field.
    values: u64,
    introspection_depth: u64,
    introspection_values: u64,
}

impl Measure {
    fn add(&mut self, other: &Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.levels = self.levels.max(other.levels);
        self.depth = self.depth.max(other.depth);
        self.cost = self.cost.saturating_add(other.cost);
        self.top = self.top.saturating_add(other.top);
        self.connection |= other.connection;
        self.values = self.values.saturating_add(other.values);
        self.introspection_depth = self.introspection_depth.max(other.introspection_depth);
        self.introspection_values = self.introspection_values.saturating_add(other.introspection_values);
    }
}

struct Meter<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    variables: &'a Variables,
    /// Default values of the chosen operation's variables.
    defaults: HashMap<&'a Name, &'a Value>,
    /// `None` while a fragment is being measured: meeting it again then is a cycle.
    measured: HashMap<&'a Name, Option<Measure>>,
    errors: Vec<ServerError>,
}

impl<'a> Meter<'a> {
    fn operation(&mut self, operation: &'a OperationDefinition) -> Measure {
        let mut measure = self.set(&operation.selection_set.node, 1);
        let of_variables = operation.variable_definitions.iter().map(|definition| definition.node.directives.len());
        let directives = of_variables.sum::<usize>() + operation.directives.len();
        measure.directives = measure.directives.saturating_add(directives as u64);
        measure
    }

    /// `level` counts from 1; it only bounds the stack, since a fragment is measured where it is met first.
    fn set(&mut self, set: &'a SelectionSet, level: u32) -> Measure {
        let mut measure = Measure::default();
        if level > MAX_LEVELS {
            // One level too many is enough for a refusal.
            return Measure { levels: 1, ..measure };
        }
        for selection in &set.items {
            let (inner, directives): (_, &[Positioned<Directive>]) = match &selection.node {
                Selection::Field(field) => (self.field(&field.node, level), &field.node.directives),
                Selection::InlineFragment(inline) => {
                    (self.set(&inline.node.selection_set.node, level + 1), &inline.node.directives)
                }
                Selection::FragmentSpread(spread) => {
                    (self.fragment(&spread.node.fragment_name, level + 1), &spread.node.directives)
                }
            };
            measure.add(&inner);
            // A fragment counts too: a spread of nothing would else be free and could be doubled without end.
            measure.fields = measure.fields.saturating_add(1);
            measure.directives = measure.directives.saturating_add(directives.len() as u64);
        }
        measure.levels += 1;
        measure
    }

    fn field(&mut self, field: &'a Field, level: u32) -> Measure {
        let name = field.name.node.as_str();
        let mut below = Measure::default();
        if !field.selection_set.node.items.is_empty() {
            below = self.set(&field.selection_set.node, level + 1);
        }
        let depth = 1 + below.depth.max(below.introspection_depth);
        let mut measure = Measure {
            fields: below.fields,
            aliases: below.aliases.saturating_add(u64::from(field.alias.is_some())),
            directives: below.directives,
            levels: below.levels,
            top: 1,
            connection: matches!(name, "edges" | "nodes" | "pageInfo"),
            values: below.values.saturating_mul(introspection_factor(name)).saturating_add(1),
            ..Measure::default()
        };
        if matches!(name, "__schema" | "__type") {
            measure.introspection_depth = depth;
            measure.introspection_values = measure.values;
            measure.cost = 1 + measure.values / 10_000;
        } else {
            measure.depth = depth;
            if !field.selection_set.node.items.is_empty() {
                measure.cost = below.cost.saturating_mul(self.factor(field, below.connection)).saturating_add(1);
            }
        }
        measure
    }

    fn fragment(&mut self, name: &'a Positioned<Name>, level: u32) -> Measure {
        // A fragment that is not defined is reported by validation.
        let Some((name, definition)) = self.fragments.get_key_value(&name.node).map(|found| (&name.node, found.1))
        else {
            return Measure::default();
        };
        match self.measured.get(name) {
            Some(Some(measure)) => *measure,
            Some(None) => {
                // Validation would say so too, but async-graphql counts recursion first and calls it too deep.
                let message = format!("Cannot spread fragment \"{name}\" within itself.");
                self.errors.push(failure(ErrorCode::GraphqlValidationFailed, message, Some(definition.pos)));
                Measure::default()
            }
            None => {
                self.measured.insert(name, None);
                let mut measure = self.set(&definition.node.selection_set.node, level);
                measure.directives = measure.directives.saturating_add(definition.node.directives.len() as u64);
                self.measured.insert(name, Some(measure));
                measure
            }
        }
    }

    /// What multiplies the cost of everything below a field.
    fn factor(&self, field: &Field, is_connection: bool) -> u64 {
        let pages = ["first", "last"].into_iter().filter_map(|name| self.argument(field, name, page_size));
        let page = pages.max().or(is_connection.then_some(DEFAULT_PAGE)).unwrap_or(1);
        page * self.argument(field, "ids", list_length).unwrap_or(1)
    }

    /// Reads an argument, be it a literal, a variable, or the default value of a variable.
    fn argument<T>(&self, field: &Field, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let literal = field.get_argument(name)?.node.clone();
        let mut variable = None;
        let value = literal.into_const_with(|name| {
            variable = Some(name);
            Ok::<_, std::convert::Infallible>(Value::Null)
        });
        match (value, variable) {
            (Ok(Value::Null), Some(name)) => {
                read(self.variables.get(&name).or_else(|| self.defaults.get(&name).copied())?)
            }
            (Ok(value), _) => read(&value),
        }
    }

    fn unused(&self) -> Vec<ServerError> {
        let unused = self.fragments.iter().filter(|(name, _)| !self.measured.contains_key(name));
        let mut errors: Vec<_> = unused
            .map(|(name, definition)| {
                let message = format!("Fragment \"{name}\" is never used.");
                failure(ErrorCode::GraphqlValidationFailed, message, Some(definition.pos))
            })
            .collect();
        errors.sort_by_key(|error| error.locations.first().copied());
        errors
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

/// How many items the lists of introspection have, at a guess that is high for this schema.
fn introspection_factor(name: &str) -> u64 {
    match name {
        "types" => 100,
        "fields" | "directives" => 8,
        "inputFields" | "enumValues" | "interfaces" | "possibleTypes" => 4,
        "args" => 2,
        _ => 1,
    }
}

//! What a parsed document amounts to, measured before it is validated.
//!
//! Owns the meter that holds the [`Limits`] of a document's shape. [`super::Language::read`] calls it once for each text,
//! right after the parser and before every walk that unfolds fragments: bluejay's rules and the merging of fields take
//! time that doubles with each fragment that spreads the next one twice (`fuzz/seeds/documents/doubling` is one).
//! Here each fragment is measured once, so the time is linear in the text; and since what passes is small when it is
//! unfolded (`fields`), the walks after this one are bounded too.
//!
//! Fragments that spread themselves are refused here, since nothing after this can bear them.

use std::collections::HashMap;

use async_graphql::{Pos, ServerError};
use bluejay_core::{
    AsIter, Directive as _,
    executable::{Field as _, OperationDefinition as _},
};
use bluejay_parser::ast::{
    Directives, Value,
    executable::{ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet},
};

use super::{source::Source, types::each};
use crate::graphql::{
    errors::ErrorCode,
    limits::{Limits, exceeded, failure},
};

/// Levels of fields below `__schema` or `__type`, these included. The standard query, with nine `ofType`, needs 15.
const INTROSPECTION_DEPTH: u32 = 15;

/// About how many values introspection may return in one operation. The standard query is estimated at 124,000.
const INTROSPECTION_VALUES: u32 = 150_000;

/// Selection sets inside each other, fragments included. async-graphql refuses one more, in less helpful words.
const MAX_LEVELS: u32 = 32;

/// Lists and objects inside each other in one literal.
const MAX_VALUE_LEVELS: u32 = 32;

/// Bytes in one name. Relay and Apollo derive operation names from file names, which stay well below.
const MAX_NAME_BYTES: usize = 128;

/// What one operation amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// Its fields and fragments, repeated ones counted each time.
    pub(super) fields: u32,
    /// Its levels of fields.
    pub(super) depth: u32,
    /// Its aliases, repeated ones counted each time.
    pub(super) aliases: u64,
    /// Its root fields, repeated ones counted each time.
    pub(super) roots: u64,
    /// About how many values its introspection returns.
    pub(super) introspection_values: u64,
}

/// Measures the operations of a document, in order, and checks all of it against `limits`.
pub(super) fn measure(
    source: &Source<'_>,
    document: &ExecutableDocument<'_>,
    limits: &Limits,
) -> Result<Vec<Measured>, Vec<ServerError>> {
    let check = |code, what, limit: u32, actual: u64, fix| {
        let limit = u64::from(limit);
        (actual > limit).then(|| exceeded(code, what, limit, actual, fix))
    };
    let complex = |what, limit, actual, fix| check(ErrorCode::OperationTooComplex, what, limit, actual, fix);
    let deep = |what, limit, actual, fix| check(ErrorCode::OperationTooDeep, what, limit, actual, fix);

    let defined = document.fragment_definitions();
    let fix = "Inline those that are used once, or split the operation.";
    if let Some(error) = complex("fragments", limits.fragments, defined.len() as u64, fix) {
        return Err(vec![error]);
    }
    let mut meter = Meter {
        source,
        fragments: defined.iter().map(|fragment| (fragment.name().as_str(), fragment)).collect(),
        measured: HashMap::new(),
        errors: Vec::new(),
        longest_list: 0,
        deepest_value: 0,
        long_name: None,
    };
    let mut all = Measure::default();
    let mut operations = Vec::new();
    for operation in document.operation_definitions() {
        let measure = meter.operation(operation);
        all.add(&measure);
        operations.push(measure);
    }
    for fragment in defined {
        let name = fragment.name().as_str();
        if !meter.measured.contains_key(name) {
            all.add(&meter.fragment(name, 1));
        }
    }
    let (list, value) = (meter.longest_list as u64, u64::from(meter.deepest_value));
    let mut errors: Vec<ServerError> = [
        deep("levels of selection sets", MAX_LEVELS, all.levels, "Nest fewer fields and fragments."),
        complex("fields and fragments", limits.fields, all.fields, "Ask for fewer, or send several operations."),
        deep("levels of fields", limits.depth, all.depth, "Ask for the inner objects by `node(id:)`."),
        deep("levels of introspection", INTROSPECTION_DEPTH, all.introspection_depth, "Follow fewer `ofType`."),
        complex("values of introspection", INTROSPECTION_VALUES, all.introspection_values, "Ask for fewer types."),
        complex("directives", limits.directives, all.directives, "Send the operation without the parts not wanted."),
        complex("items in one input list", limits.list_items, list, "Send the items in several operations."),
        deep("levels in one input value", MAX_VALUE_LEVELS, value, "Flatten the input."),
        meter.long_name.take().map(|(bytes, at)| {
            let (what, limit) = ("bytes in a name", MAX_NAME_BYTES as u64);
            let mut error = exceeded(ErrorCode::OperationTooComplex, what, limit, bytes as u64, "Use a shorter one.");
            error.locations = vec![at];
            error
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    errors.append(&mut meter.errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let measured = |measure: &Measure| Measured {
        fields: small(measure.fields),
        depth: small(measure.depth.max(measure.introspection_depth)),
        aliases: measure.aliases,
        roots: measure.top,
        introspection_values: measure.introspection_values,
    };
    Ok(operations.iter().map(measured).collect())
}

/// The errors of limits that hold for the operation that is run.
pub(super) fn check_operation(measured: &Measured, cost: u64, limits: &Limits) -> Vec<ServerError> {
    let complex = |what, limit: u32, actual: u64, fix| {
        let limit = u64::from(limit);
        (actual > limit).then(|| exceeded(ErrorCode::OperationTooComplex, what, limit, actual, fix))
    };
    [
        complex("aliases", limits.aliases, measured.aliases, "Use `nodes(ids:)`, or send several operations."),
        complex("root fields", limits.root_fields, measured.roots, "Send several operations."),
        complex("points", limits.cost, cost, "Ask for smaller pages: `first` multiplies all below it."),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a selection set amounts to when its fragments are unfolded. Numbers saturate: they double with each fragment.
#[derive(Clone, Copy, Default)]
struct Measure {
    fields: u64,
    aliases: u64,
    directives: u64,
    /// Selection sets inside each other, this one included.
    levels: u64,
    /// Levels of fields, without those below introspection.
    depth: u64,
    /// Fields of this level, those in fragments included.
    top: u64,
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
        self.top = self.top.saturating_add(other.top);
        self.values = self.values.saturating_add(other.values);
        self.introspection_depth = self.introspection_depth.max(other.introspection_depth);
        self.introspection_values = self.introspection_values.saturating_add(other.introspection_values);
    }
}

struct Meter<'a> {
    source: &'a Source<'a>,
    fragments: HashMap<&'a str, &'a FragmentDefinition<'a>>,
    /// `None` while a fragment is being measured: meeting it again then is a cycle.
    measured: HashMap<&'a str, Option<Measure>>,
    errors: Vec<ServerError>,
    longest_list: usize,
    deepest_value: u32,
    /// The first name that is too long.
    long_name: Option<(usize, Pos)>,
}

impl<'a> Meter<'a> {
    fn operation(&mut self, operation: &'a OperationDefinition<'a>) -> Measure {
        let mut measure = self.set(operation.selection_set(), 1);
        let parts = operation.as_ref();
        self.name(parts.name().unwrap_or_default(), operation.selection_set());
        let mut directives = self.directives(parts.directives());
        for definition in each(parts.variable_definitions()) {
            self.name(definition.variable().name(), definition.variable());
            if let Some(value) = definition.default_value() {
                self.value(value, 1);
            }
            let of_variable = bluejay_core::executable::VariableDefinition::directives(definition);
            directives += self.directives(of_variable);
        }
        measure.directives = measure.directives.saturating_add(directives);
        measure
    }

    /// `level` counts from 1; it only bounds the stack, since a fragment is measured where it is met first.
    fn set(&mut self, set: &'a SelectionSet<'a>, level: u32) -> Measure {
        let mut measure = Measure::default();
        if level > MAX_LEVELS {
            // One level too many is enough for a refusal.
            return Measure { levels: 1, ..measure };
        }
        for selection in set.iter() {
            let (inner, directives) = match selection {
                Selection::Field(field) => (self.field(field, level), field.directives()),
                Selection::InlineFragment(inline) => {
                    let set = inline.selection_set();
                    (self.set(set, level + 1), bluejay_core::executable::InlineFragment::directives(inline))
                }
                Selection::FragmentSpread(spread) => {
                    self.name(spread.name().as_str(), spread.name());
                    let directives = bluejay_core::executable::FragmentSpread::directives(spread);
                    (self.fragment(spread.name().as_str(), level + 1), directives)
                }
            };
            measure.add(&inner);
            // A fragment counts too: a spread of nothing would else be free and could be doubled without end.
            measure.fields = measure.fields.saturating_add(1);
            measure.directives = measure.directives.saturating_add(self.directives(directives));
        }
        measure.levels += 1;
        measure
    }

    fn field(&mut self, field: &'a Field<'a>, level: u32) -> Measure {
        let name = field.name().as_str();
        self.name(name, field.name());
        self.name(field.alias().unwrap_or_default(), field);
        for argument in each(field.arguments()) {
            self.name(argument.name().as_str(), argument.name());
            self.value(argument.value(), 1);
        }
        let below = field.selection_set().map_or_else(Measure::default, |set| self.set(set, level + 1));
        let depth = 1 + below.depth.max(below.introspection_depth);
        let mut measure = Measure {
            fields: below.fields,
            aliases: below.aliases.saturating_add(u64::from(field.alias().is_some())),
            directives: below.directives,
            levels: below.levels,
            top: 1,
            values: below.values.saturating_mul(introspection_factor(name)).saturating_add(1),
            ..Measure::default()
        };
        if matches!(name, "__schema" | "__type") {
            measure.introspection_depth = depth;
            measure.introspection_values = measure.values;
        } else {
            measure.depth = depth;
        }
        measure
    }

    fn fragment(&mut self, name: &'a str, level: u32) -> Measure {
        // A fragment that is not defined is reported by validation.
        let Some(definition) = self.fragments.get(name).copied() else { return Measure::default() };
        match self.measured.get(name) {
            Some(Some(measure)) => *measure,
            Some(None) => {
                let message = format!("Cannot spread fragment \"{name}\" within itself.");
                let at = self.source.start(definition);
                self.errors.push(failure(ErrorCode::GraphqlValidationFailed, message, Some(at)));
                Measure::default()
            }
            None => {
                self.measured.insert(name, None);
                self.name(name, definition.name());
                let mut measure = self.set(definition.selection_set(), level);
                let of_fragment = bluejay_core::executable::FragmentDefinition::directives(definition);
                measure.directives = measure.directives.saturating_add(self.directives(of_fragment));
                self.measured.insert(name, Some(measure));
                measure
            }
        }
    }

    /// How many there are.
    fn directives<const CONST: bool>(&mut self, directives: Option<&'a Directives<'a, CONST>>) -> u64 {
        let mut count = 0;
        for directive in each(directives) {
            count += 1;
            self.name(directive.name().as_str(), directive.name());
            for argument in each(directive.arguments()) {
                self.name(argument.name().as_str(), argument.name());
                self.value(argument.value(), 1);
            }
        }
        count
    }

    /// Nesting is bounded by the parser.
    fn value<const CONST: bool>(&mut self, value: &'a Value<'a, CONST>, level: u32) {
        match value {
            Value::List(list) => {
                self.deepest_value = self.deepest_value.max(level);
                self.longest_list = self.longest_list.max(list.len());
                list.iter().for_each(|item| self.value(item, level + 1));
            }
            Value::Object(object) => {
                self.deepest_value = self.deepest_value.max(level);
                for (key, value) in bluejay_core::ObjectValue::iter(object) {
                    self.name(key.as_str(), key);
                    self.value(value, level + 1);
                }
            }
            Value::Enum(name) => self.name(name.as_str(), name),
            Value::Variable(variable) => self.name(variable.name(), variable),
            Value::Integer(_) | Value::Float(_) | Value::String(_) | Value::Boolean(_) | Value::Null(_) => {}
        }
    }

    fn name(&mut self, name: &str, at: &impl bluejay_parser::HasSpan) {
        if name.len() > MAX_NAME_BYTES && self.long_name.is_none() {
            self.long_name = Some((name.len(), self.source.start(at)));
        }
    }
}

/// How many items the lists of introspection have, at a guess that is high for this schema.
pub(super) fn introspection_factor(name: &str) -> u64 {
    match name {
        "types" => 100,
        "fields" | "directives" => 8,
        "inputFields" | "enumValues" | "interfaces" | "possibleTypes" => 4,
        "args" => 2,
        _ => 1,
    }
}

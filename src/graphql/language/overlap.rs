//! Fields that are answered under one name must be one field (spec 5.3.2, "Field Selection Merging").
//!
//! Owns the rule, over operations that are unfolded. In each set fields are put together by their name in the answer.
//! All of one name must have the same shape, wherever they stand; those that can be of the same object must be the same
//! field with the same arguments; and the same holds of what is selected below them, taken together. Called by
//! [`super::Language::read`].
//!
//! Own code: the library's rule has no memory, so its time doubles with nested fragments, and it never compares a field of
//! a union with one of a member. Here each set of an operation is looked at once for its shape, and for its fields once
//! for each object that it can be below (types that fragments name, [`MOST_STEPS`] in all).

use std::collections::HashMap;

use async_graphql::{
    Pos, Positioned, ServerError,
    parser::types::{Field, Selection, SelectionSet},
};
use bluejay_core::definition::{FieldDefinition as _, OutputType as _, OutputTypeReference, SchemaDefinition as _};

use super::types::{self, Named, Schema, is_object};
use crate::graphql::{errors::ErrorCode, limits::failure};

/// Fields that are looked at in one operation. The unfolded fields of a document are limited to some thousand, and only
/// abstract types inside abstract types, which this schema has not, are looked at several times.
const MOST_STEPS: usize = 100_000;

/// A field, and the type it stands in.
#[derive(Clone, Copy)]
struct Seen<'a> {
    field: &'a Positioned<Field>,
    parent: Named<'static>,
    definition: &'static types::Field,
}

/// Fields by their names in the answer, in order.
type Groups<'a> = Vec<(&'a str, Vec<Seen<'a>>)>;

/// The conflicts of an operation, at most `most`.
pub(super) fn conflicts(
    schema: &'static Schema,
    root: Named<'static>,
    selections: &SelectionSet,
    most: usize,
) -> Vec<ServerError> {
    let mut check = Check { schema, errors: Vec::new(), most, steps: 0 };
    let mut groups = Groups::new();
    check.collect(selections, root, &mut HashMap::new(), &mut groups);
    check.shapes(&groups);
    check.fields(&groups);
    let mut errors = check.errors;
    if check.steps >= MOST_STEPS {
        let message = "This operation selects too many fields of one name. Give them aliases, or ask for fewer.";
        return vec![failure(ErrorCode::OperationTooComplex, message, None)];
    }
    errors.sort_by_key(|error| error.locations.last().copied());
    errors.dedup_by(|one, other| one.locations == other.locations && one.message == other.message);
    errors
}

struct Check {
    schema: &'static Schema,
    errors: Vec<ServerError>,
    most: usize,
    steps: usize,
}

impl Check {
    fn collect<'a>(
        &mut self,
        set: &'a SelectionSet,
        parent: Named<'static>,
        known: &mut HashMap<&'a str, usize>,
        groups: &mut Groups<'a>,
    ) {
        for selection in &set.items {
            self.steps += 1;
            match &selection.node {
                Selection::Field(field) => {
                    let Some(definition) = types::field(self.schema, &parent, &field.node.name.node) else { continue };
                    let key = field.node.response_key().node.as_str();
                    let number = *known.entry(key).or_insert_with(|| {
                        groups.push((key, Vec::new()));
                        groups.len() - 1
                    });
                    if let Some((_, fields)) = groups.get_mut(number) {
                        fields.push(Seen { field, parent, definition });
                    }
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    let inner = on.and_then(|on| self.schema.get_type_definition(on)).unwrap_or(parent);
                    self.collect(&inline.node.selection_set.node, inner, known, groups);
                }
                // Unfolded.
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    /// What is selected below these fields, taken together.
    fn below<'a>(&mut self, fields: &[Seen<'a>]) -> Groups<'a> {
        let (mut known, mut groups) = (HashMap::new(), Groups::new());
        for seen in fields {
            let set = &seen.field.node.selection_set.node;
            if let Some(parent) = types::result(self.schema, seen.definition).filter(|_| !set.items.is_empty()) {
                self.collect(set, parent, &mut known, &mut groups);
            }
        }
        groups
    }

    /// `SameResponseShape`: fields under one response name have the same shape, whatever object they are selected on.
    fn shapes(&mut self, groups: &Groups<'_>) {
        for (key, fields) in groups {
            let Some((first, others)) = fields.split_first() else { continue };
            let other =
                others.iter().find(|other| !self.same_shape(first.definition.r#type(), other.definition.r#type()));
            if let Some(other) = other {
                let (one, two) = (first.definition.r#type().display_name(), other.definition.r#type().display_name());
                let why = format!("they return \"{one}\" and \"{two}\"");
                self.conflict(key, &why, first.field.pos, other.field.pos);
            } else if self.may_go_on() {
                let below = self.below(fields);
                self.shapes(&below);
            }
        }
    }

    /// `FieldsInSetCanMerge`, but for the shapes: fields of objects that can be one and the same are the same field.
    fn fields(&mut self, groups: &Groups<'_>) {
        for (key, fields) in groups {
            for together in together(fields) {
                let Some((first, others)) = together.split_first() else { continue };
                let mut differs = others.iter().filter_map(|other| Some((other, difference(first, other)?)));
                if let Some((other, why)) = differs.next() {
                    let at = other.field.pos;
                    self.conflict(key, &why, first.field.pos, at);
                } else if self.may_go_on() {
                    let below = self.below(&together);
                    self.fields(&below);
                }
            }
        }
    }

    fn same_shape(
        &self,
        one: &'static <Schema as bluejay_core::definition::SchemaDefinition>::OutputType,
        other: &'static <Schema as bluejay_core::definition::SchemaDefinition>::OutputType,
    ) -> bool {
        match (one.as_ref(self.schema), other.as_ref(self.schema)) {
            (OutputTypeReference::Base(one, firm), OutputTypeReference::Base(other, other_firm)) => {
                let leaves = one.is_scalar_or_enum() || other.is_scalar_or_enum();
                firm == other_firm && (!leaves || one.name() == other.name())
            }
            (OutputTypeReference::List(one, firm), OutputTypeReference::List(other, other_firm)) => {
                firm == other_firm && self.same_shape(one, other)
            }
            _ => false,
        }
    }

    fn may_go_on(&self) -> bool {
        self.errors.len() < self.most && self.steps < MOST_STEPS
    }

    fn conflict(&mut self, key: &str, why: &str, first: Pos, second: Pos) {
        if self.errors.len() < self.most {
            let message = format!("Fields \"{key}\" conflict: {why}. Give one of them an alias.");
            let mut error = failure(ErrorCode::GraphqlValidationFailed, message, Some(first));
            error.locations.push(second);
            self.errors.push(error);
        }
    }
}

/// Why two fields are not the same field.
fn difference(one: &Seen<'_>, other: &Seen<'_>) -> Option<String> {
    let (one, other) = (&one.field.node, &other.field.node);
    if one.name.node != other.name.node {
        return Some(format!("\"{}\" and \"{}\" are different fields", one.name.node, other.name.node));
    }
    // Arguments are the same in any order.
    let same = one.arguments.len() == other.arguments.len()
        && one
            .arguments
            .iter()
            .all(|(name, value)| other.get_argument(&name.node).is_some_and(|known| known.node == value.node));
    (!same).then(|| "they have differing arguments".to_owned())
}

/// The fields that can be of one object: those of each object type that is named, each with those of abstract types.
fn together<'a>(fields: &[Seen<'a>]) -> Vec<Vec<Seen<'a>>> {
    let mut objects: Vec<&str> = Vec::new();
    for seen in fields.iter().filter(|seen| is_object(&seen.parent)) {
        if !objects.contains(&seen.parent.name()) {
            objects.push(seen.parent.name());
        }
    }
    if objects.is_empty() {
        return vec![fields.to_vec()];
    }
    let of = |object: &str| {
        let can_be = |seen: &&Seen<'a>| !is_object(&seen.parent) || seen.parent.name() == object;
        fields.iter().filter(can_be).copied().collect::<Vec<_>>()
    };
    objects.into_iter().map(of).collect()
}

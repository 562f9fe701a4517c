//! Fields of one name become one field, and what `@skip` and `@include` take out goes (spec 6.3.2, `CollectFields`).
//!
//! Owns the last step of a document before it is executed. async-graphql executes a field as often as it is selected and
//! lays the answers over each other, lists by position: a mutation selected twice would run twice. What leaves here
//! selects each name once in each object, in the order of its first occurrence, and has no directives. Called once for a
//! text whose conditions are all literal, and for each request where they hold variables.
//!
//! Fragments on types that only some of the possible objects have stay fragments, as long as no name is both in one of
//! them and elsewhere; otherwise what is selected is written out for each possible object. That can be more than what
//! was sent, so it is counted: [`MOST_NODES`].

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Pos, Positioned, ServerError, Variables,
    parser::types::{Directive, Field, InlineFragment, Selection, SelectionSet, TypeCondition},
};
use async_graphql_value::Value as Literal;
use bluejay_core::definition::SchemaDefinition as _;

use super::types::{self, Named, Schema, covers, is_object};
use crate::graphql::{errors::ErrorCode, limits::failure};

/// Selections of a document that is merged: several times as many as one may send.
const MOST_NODES: usize = 10_000;

/// Merges the selections of an operation. `variables` hold what its conditions may depend on.
pub(super) fn merge(
    schema: &'static Schema,
    root: Named<'static>,
    selections: &SelectionSet,
    variables: &Variables,
) -> Result<SelectionSet, ServerError> {
    Merger { schema, variables, nodes: 0 }.merge(&[selections], root)
}

/// Whether a set, or one below it, has a condition that depends on a variable.
pub(super) fn is_conditional(set: &SelectionSet) -> bool {
    set.items.iter().any(|selection| {
        let arguments = selection.node.directives().iter().flat_map(|directive| &directive.node.arguments);
        let mut values = arguments.map(|(_, value)| &value.node);
        values.any(|value| matches!(value, Literal::Variable(_)))
            || match &selection.node {
                Selection::Field(field) => is_conditional(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => is_conditional(&inline.node.selection_set.node),
                Selection::FragmentSpread(_) => false,
            }
    })
}

/// Takes out the arguments whose variable has no value: so the argument's default holds (spec 6.4.1). Inside lists and
/// input objects async-graphql does that itself.
pub(super) fn drop_valueless(set: &mut SelectionSet, variables: &Variables) {
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) => {
                field.node.arguments.retain(|(_, value)| match &value.node {
                    Literal::Variable(name) => variables.contains_key(name),
                    _ => true,
                });
                drop_valueless(&mut field.node.selection_set.node, variables);
            }
            Selection::InlineFragment(inline) => drop_valueless(&mut inline.node.selection_set.node, variables),
            Selection::FragmentSpread(_) => {}
        }
    }
}

/// Fields of one name.
struct Group<'a> {
    fields: Vec<&'a Field>,
    at: Pos,
}

/// What a set selects in an object, or in all objects of an abstract type.
#[derive(Default)]
struct Collected<'a> {
    groups: Vec<Group<'a>>,
    known: HashMap<&'a str, usize>,
    /// Fragments for some of the objects only, each behind so many groups.
    narrower: Vec<(usize, &'a InlineFragment, Named<'static>, Pos)>,
}

struct Merger<'a> {
    schema: &'static Schema,
    variables: &'a Variables,
    nodes: usize,
}

impl<'a> Merger<'a> {
    /// What `sets` select in `parent`, taken together.
    fn merge(&mut self, sets: &[&'a SelectionSet], parent: Named<'static>) -> Result<SelectionSet, ServerError> {
        let mut collected = Collected::default();
        for set in sets {
            self.collect(set, parent, &mut collected)?;
        }
        if self.collides(&collected)? {
            return self.written_out(sets, parent);
        }
        let mut items = Vec::with_capacity(collected.groups.len() + collected.narrower.len());
        let mut narrower = collected.narrower.into_iter().peekable();
        for (index, group) in collected.groups.iter().enumerate() {
            while let Some((_, inline, on, at)) = narrower.next_if(|(before, ..)| *before <= index) {
                items.extend(self.fragment(&[&inline.selection_set.node], on, at)?);
            }
            items.push(self.field(group, parent)?);
        }
        for (_, inline, on, at) in narrower {
            items.extend(self.fragment(&[&inline.selection_set.node], on, at)?);
        }
        Ok(SelectionSet { items })
    }

    fn collect(
        &mut self,
        set: &'a SelectionSet,
        parent: Named<'static>,
        into: &mut Collected<'a>,
    ) -> Result<(), ServerError> {
        for selection in &set.items {
            if !self.is_wanted(selection.node.directives())? {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => {
                    let groups = &mut into.groups;
                    let number = *into.known.entry(field.node.response_key().node.as_str()).or_insert_with(|| {
                        groups.push(Group { fields: Vec::new(), at: field.pos });
                        groups.len() - 1
                    });
                    if let Some(group) = groups.get_mut(number) {
                        group.fields.push(&field.node);
                    }
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    let on = on.and_then(|on| self.schema.get_type_definition(on)).unwrap_or(parent);
                    if !is_object(&parent) && on.name() != parent.name() {
                        // Even if all objects here are of that type, its fields need not be fields of this one.
                        into.narrower.push((into.groups.len(), &inline.node, on, inline.pos));
                    } else if covers(self.schema, &on, &parent) {
                        self.collect(&inline.node.selection_set.node, parent, into)?;
                    }
                }
                // Unfolded.
                Selection::FragmentSpread(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a name is in a narrower fragment and elsewhere too.
    fn collides(&self, collected: &Collected<'a>) -> Result<bool, ServerError> {
        if collected.narrower.is_empty() {
            return Ok(false);
        }
        let mut names: HashSet<&str> = collected.known.keys().copied().collect();
        for (_, inline, ..) in &collected.narrower {
            let mut own = HashSet::new();
            self.names(&inline.selection_set.node, &mut own)?;
            if !names.is_disjoint(&own) {
                return Ok(true);
            }
            names.extend(own);
        }
        Ok(false)
    }

    fn names(&self, set: &'a SelectionSet, names: &mut HashSet<&'a str>) -> Result<(), ServerError> {
        for selection in &set.items {
            if !self.is_wanted(selection.node.directives())? {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => {
                    names.insert(field.node.response_key().node.as_str());
                }
                Selection::InlineFragment(inline) => self.names(&inline.node.selection_set.node, names)?,
                Selection::FragmentSpread(_) => {}
            }
        }
        Ok(())
    }

    /// What is selected, for each object that there can be.
    fn written_out(&mut self, sets: &[&'a SelectionSet], parent: Named<'static>) -> Result<SelectionSet, ServerError> {
        let mut items = Vec::new();
        for object in types::objects(self.schema, &parent) {
            if let Some(object) = self.schema.get_type_definition(object) {
                items.extend(self.fragment(sets, object, Pos { line: 1, column: 1 })?);
            }
        }
        Ok(SelectionSet { items })
    }

    /// A fragment for some of the objects, if it selects anything.
    fn fragment(
        &mut self,
        sets: &[&'a SelectionSet],
        on: Named<'static>,
        at: Pos,
    ) -> Result<Option<Positioned<Selection>>, ServerError> {
        self.count(at)?;
        let set = self.merge(sets, on)?;
        if set.items.is_empty() {
            return Ok(None);
        }
        let condition = TypeCondition { on: Positioned::new(Name::new(on.name()), at) };
        let inline = InlineFragment {
            type_condition: Some(Positioned::new(condition, at)),
            directives: Vec::new(),
            selection_set: Positioned::new(set, at),
        };
        Ok(Some(Positioned::new(Selection::InlineFragment(Positioned::new(inline, at)), at)))
    }

    fn field(&mut self, group: &Group<'a>, parent: Named<'static>) -> Result<Positioned<Selection>, ServerError> {
        self.count(group.at)?;
        let Some(first) = group.fields.first() else {
            return Err(failure(ErrorCode::InternalServerError, "a field without a selection", Some(group.at)));
        };
        let sets: Vec<&SelectionSet> = group.fields.iter().map(|field| &field.selection_set.node).collect();
        let below = match types::field(self.schema, &parent, &first.name.node)
            .and_then(|definition| types::result(self.schema, definition))
        {
            Some(inner) if sets.iter().any(|set| !set.items.is_empty()) => self.merge(&sets, inner)?,
            _ => SelectionSet::default(),
        };
        let field = Field {
            alias: first.alias.clone(),
            name: first.name.clone(),
            arguments: first.arguments.clone(),
            directives: Vec::new(),
            selection_set: Positioned::new(below, first.selection_set.pos),
        };
        Ok(Positioned::new(Selection::Field(Positioned::new(field, group.at)), group.at))
    }

    /// Whether all conditions hold.
    fn is_wanted(&self, directives: &[Positioned<Directive>]) -> Result<bool, ServerError> {
        for directive in directives {
            let name = directive.node.name.node.as_str();
            let value = directive.node.get_argument("if").map(|value| &value.node);
            let value = match value {
                Some(Literal::Boolean(value)) => Some(*value),
                Some(Literal::Variable(variable)) => match self.variables.get(variable) {
                    Some(async_graphql::Value::Boolean(value)) => Some(*value),
                    _ => None,
                },
                _ => None,
            };
            let Some(value) = value else {
                let message = format!("The argument \"if\" of \"@{name}\" must not be null.");
                return Err(failure(ErrorCode::BadUserInput, message, Some(directive.pos)));
            };
            if value != (name == "include") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn count(&mut self, at: Pos) -> Result<(), ServerError> {
        self.nodes += 1;
        if self.nodes <= MOST_NODES {
            return Ok(());
        }
        let message = "This operation selects too much of types that stand for several others. Ask for fewer fields.";
        Err(failure(ErrorCode::OperationTooComplex, message, Some(at)))
    }
}

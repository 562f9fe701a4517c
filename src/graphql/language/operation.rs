//! One operation of a document that is kept: all that is known of it without its variables.
//!
//! Made by [`super::Language::read`] once for each text and shared by all requests that choose it. For each request it
//! coerces the variables and gives the selections that async-graphql executes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_graphql::{
    Name, Pos, Positioned, ServerError, Variables,
    parser::types::{
        DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
        VariableDefinition,
    },
};
use async_graphql_value::Value as Literal;
use bluejay_core::definition::SchemaDefinition as _;

use super::{
    coerce::coerce,
    convert::{Unfolded, Variable},
    guard::{Measured, check_operation},
    inputs::Inputs,
    merge,
    price::{Effort, Efforts, Price, Tariff},
    roots::{self, Root},
    types::Schema,
};
use crate::graphql::{
    errors::ErrorCode,
    limits::{Limits, exceeded, failure},
    prices::Prices,
};

/// An operation of a document.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: Option<String>,
    pub(super) kind: OperationType,
    pub(super) measured: Measured,
    /// Its root fields, those that are merged as one.
    pub(super) roots: Vec<Root>,
    /// The names of its root fields in the schema, each once.
    pub(super) root_fields: Arc<[String]>,
    schema: &'static Schema,
    root: &'static str,
    variables: Vec<Variable>,
    definitions: Vec<Positioned<VariableDefinition>>,
    price: Price,
    efforts: Vec<Effort>,
    selections: Selections,
}

/// What an operation selects.
#[derive(Debug)]
enum Selections {
    /// Merged already: no condition depends on a variable.
    Merged(SelectionSet),
    /// To be merged once the variables are known.
    Conditional(SelectionSet),
}

impl Operation {
    pub(super) fn new(
        schema: &'static Schema,
        prices: &Prices,
        unfolded: Unfolded,
        measured: Measured,
    ) -> Result<Self, ServerError> {
        let Unfolded { name, kind, root, variables, definitions, selections } = unfolded;
        let Some(parent) = schema.get_type_definition(root) else {
            return Err(failure(ErrorCode::InternalServerError, "a schema without its root", None));
        };
        let roots = roots::collect(&selections);
        let mut root_fields: Vec<String> = Vec::new();
        for root in &roots {
            if !root_fields.contains(&root.name) {
                root_fields.push(root.name.clone());
            }
        }
        let tariff = Tariff { schema, prices };
        let price = Price::of(tariff, parent, kind, &selections);
        let efforts = tariff.efforts(parent, kind, &selections);
        let selections = if merge::is_conditional(&selections) {
            Selections::Conditional(selections)
        } else {
            Selections::Merged(merge::merge(schema, parent, &selections, &Variables::default())?)
        };
        let root_fields = root_fields.into();
        Ok(Self {
            name,
            kind,
            measured,
            roots,
            root_fields,
            schema,
            root,
            variables,
            definitions,
            price,
            efforts,
            selections,
        })
    }

    /// Whether the operation declares a variable of this name.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.name == name)
    }

    /// The variables that the operation declares, coerced; those without a value are left out (spec 6.1.2).
    pub(super) fn coerce(&self, inputs: &Inputs, mut sent: Variables) -> Result<Variables, Vec<ServerError>> {
        let mut coerced = Variables::default();
        let mut errors = Vec::new();
        for Variable { name, at, of, declared, default } in &self.variables {
            let mut refuse = |message: String| errors.push(failure(ErrorCode::BadUserInput, message, Some(*at)));
            match (sent.remove(name), default) {
                (Some(value), _) => match coerce(inputs, &format!("Variable \"${name}"), value, of) {
                    Ok(value) => {
                        coerced.insert(name.clone(), value);
                    }
                    Err(messages) => messages.into_iter().for_each(refuse),
                },
                (None, Some(default)) => {
                    coerced.insert(name.clone(), default.clone());
                }
                (None, None) if of.nullable() => {}
                (None, None) => {
                    refuse(format!("Variable \"${name}\" of required type \"{declared}\" was not provided."));
                }
            }
        }
        errors.truncate(super::MOST_ERRORS);
        if errors.is_empty() { Ok(coerced) } else { Err(errors) }
    }

    /// What it costs with these variables, at least a point; refused if that, or its shape, is too much.
    pub(super) fn weigh(&self, variables: &Variables, limits: &Limits) -> Result<u32, Vec<ServerError>> {
        let points = self.price.points(variables);
        let errors = check_operation(&self.measured, points, limits);
        if errors.is_empty() { Ok(u32::try_from(points.max(1)).unwrap_or(u32::MAX)) } else { Err(errors) }
    }

    /// What it does whatever its answer holds, with these variables.
    pub(super) fn efforts(&self, variables: &Variables) -> Efforts {
        Efforts::of(&self.efforts, variables)
    }

    /// The selections, if they depend on variables.
    pub(super) fn resolve(&self, variables: &Variables) -> Result<Option<Arc<SelectionSet>>, ServerError> {
        match (&self.selections, self.schema.get_type_definition(self.root)) {
            (Selections::Conditional(selections), Some(root)) => {
                Ok(Some(Arc::new(merge::merge(self.schema, root, selections, variables)?)))
            }
            _ => Ok(None),
        }
    }

    /// The selections, those of this request if there are such.
    pub(super) fn selections<'a>(&'a self, resolved: Option<&'a SelectionSet>) -> &'a SelectionSet {
        match (&self.selections, resolved) {
            (_, Some(resolved)) => resolved,
            (Selections::Merged(merged) | Selections::Conditional(merged), None) => merged,
        }
    }

    /// The document to execute.
    pub(super) fn executable(&self, resolved: Option<&SelectionSet>, variables: &Variables) -> ExecutableDocument {
        let mut selections = self.selections(resolved).clone();
        if variables.len() < self.variables.len() {
            merge::drop_valueless(&mut selections, variables);
        }
        let at = Pos { line: 1, column: 1 };
        let definition = OperationDefinition {
            ty: self.kind,
            variable_definitions: self.definitions.clone(),
            directives: Vec::new(),
            selection_set: Positioned::new(selections, at),
        };
        let operations = DocumentOperations::Single(Positioned::new(definition, at));
        ExecutableDocument { operations, fragments: HashMap::new() }
    }

    /// Names the variables that stand below its root fields, in the arguments of what is selected there.
    pub(super) fn variables_below_roots(&self, resolved: Option<&SelectionSet>) -> HashSet<Name> {
        let mut named = HashSet::new();
        for root in &self.selections(resolved).items {
            if let Selection::Field(root) = &root.node {
                variables_in(&root.node.selection_set.node, &mut named);
            } else {
                // Not what validation lets through.
                variables_in(&SelectionSet { items: vec![root.clone()] }, &mut named);
            }
        }
        named
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let (Selections::Merged(set) | Selections::Conditional(set)) = &self.selections;
        let variables =
            self.variables.len() * (size_of::<Variable>() + size_of::<Positioned<VariableDefinition>>() + 128);
        let roots = self.roots.iter().map(|root| size_of::<Root>() + 2 * (root.key.len() + 2 * root.name.len()));
        size_of::<Self>()
            + variables
            + roots.sum::<usize>()
            + (self.price.parts() + self.efforts.len()) * 256
            + bytes_of(set)
    }
}

fn variables_in(set: &SelectionSet, named: &mut HashSet<Name>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                field.node.arguments.iter().for_each(|(_, value)| variables_in_value(&value.node, named));
                variables_in(&field.node.selection_set.node, named);
            }
            Selection::InlineFragment(inline) => variables_in(&inline.node.selection_set.node, named),
            // Unfolded.
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn variables_in_value(value: &Literal, named: &mut HashSet<Name>) {
    match value {
        Literal::Variable(name) => drop(named.insert(name.clone())),
        Literal::List(items) => items.iter().for_each(|item| variables_in_value(item, named)),
        Literal::Object(fields) => fields.values().for_each(|field| variables_in_value(field, named)),
        Literal::Null
        | Literal::Number(_)
        | Literal::String(_)
        | Literal::Boolean(_)
        | Literal::Binary(_)
        | Literal::Enum(_) => {}
    }
}

/// About how many bytes a set takes. Each distinct name of a document is there once and shared.
pub(super) fn bytes_of(set: &SelectionSet) -> usize {
    let of_selection = |selection: &Positioned<Selection>| {
        let within = match &selection.node {
            Selection::Field(field) => {
                let field = &field.node;
                let arguments =
                    field.arguments.iter().map(|(_, value)| 2 * size_of::<Literal>() + bytes_of_value(&value.node));
                let names = field.name.node.len() + field.alias.as_ref().map_or(0, |alias| alias.node.len());
                names + arguments.sum::<usize>() + bytes_of(&field.selection_set.node)
            }
            Selection::InlineFragment(inline) => bytes_of(&inline.node.selection_set.node),
            Selection::FragmentSpread(_) => 0,
        };
        size_of::<Positioned<Selection>>() + selection.node.directives().len() * 512 + within
    };
    // Vectors grow by doubling.
    set.items.iter().map(of_selection).sum::<usize>() + set.items.len() * size_of::<Positioned<Selection>>()
}

fn bytes_of_value(value: &Literal) -> usize {
    size_of::<Literal>()
        + match value {
            Literal::String(text) => text.len(),
            Literal::List(items) => items.iter().map(bytes_of_value).sum(),
            // An entry of the map, and of its index.
            Literal::Object(fields) => fields.values().map(|value| 64 + bytes_of_value(value)).sum(),
            Literal::Variable(name) | Literal::Enum(name) => name.len(),
            Literal::Null | Literal::Number(_) | Literal::Boolean(_) | Literal::Binary(_) => 0,
        }
}

/// The error of the longest list in variables, if it is longer than `limit`.
pub(super) fn long_list(variables: &Variables, limit: u32) -> Option<ServerError> {
    fn longest(value: &async_graphql::Value) -> usize {
        match value {
            async_graphql::Value::List(items) => items.iter().map(longest).max().unwrap_or_default().max(items.len()),
            async_graphql::Value::Object(fields) => fields.values().map(longest).max().unwrap_or_default(),
            _ => 0,
        }
    }
    let longest = variables.values().map(longest).max().unwrap_or_default() as u64;
    let (limit, fix) = (u64::from(limit), "Send the items in several operations.");
    (longest > limit).then(|| exceeded(ErrorCode::OperationTooComplex, "items in one input list", limit, longest, fix))
}

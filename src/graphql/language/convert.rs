//! From the validated document to one that async-graphql executes.
//!
//! Owns the unfolding of operations: fragments take the place of their spreads, so that what is left has fields and typed
//! fragments alone. `@skip` and `@include` stay, with all that they may take out: whether two fields conflict does not
//! depend on them. Values of custom scalars that are written into the document are parsed here, so that a malformed one is
//! refused before anything runs. Called by [`super::Language::read`] after validation, when what is unfolded is known to
//! be small.

use std::collections::HashMap;

use async_graphql::{
    Name, Number, Pos, Positioned, ServerError, Value,
    indexmap::IndexMap,
    parser::types::{
        BaseType, Directive, Field, InlineFragment, OperationType, Selection, SelectionSet, Type, TypeCondition,
        VariableDefinition,
    },
};
use async_graphql_value::Value as Literal;
use bluejay_core::{
    AsIter, Directive as _,
    definition::{
        ArgumentsDefinition as _, FieldDefinition as _, InputType as _, InputValueDefinition as _,
        ObjectTypeDefinition, SchemaDefinition as _,
    },
    executable::{Field as _, OperationDefinition as _},
};
use bluejay_parser::{
    HasSpan,
    ast::{
        self, VariableDirectives,
        executable::{FragmentDefinition, OperationDefinition, VariableType},
    },
};

use super::{
    Language,
    coerce::coerce,
    inputs::{InputType, TypeRef},
    rules::Ast,
    source::Source,
    types::{self, Named, each},
    words::type_text,
};
use crate::graphql::{errors::ErrorCode, limits::failure};

/// A variable that an operation declares.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: Name,
    pub(super) at: Pos,
    pub(super) of: TypeRef,
    /// Its type as the operation writes it.
    pub(super) declared: String,
    /// Its default, coerced.
    pub(super) default: Option<Value>,
}

/// An operation, unfolded.
#[derive(Debug)]
pub(super) struct Unfolded {
    pub(super) name: Option<String>,
    pub(super) kind: OperationType,
    /// The name of its root type.
    pub(super) root: &'static str,
    pub(super) variables: Vec<Variable>,
    /// Where async-graphql looks variables up: their names and types.
    pub(super) definitions: Vec<Positioned<VariableDefinition>>,
    pub(super) selections: SelectionSet,
}

/// Unfolds the operations of a document, in order.
pub(super) fn unfold(
    language: &Language,
    source: &Source<'_>,
    document: &Ast<'_>,
) -> Result<Vec<Unfolded>, Vec<ServerError>> {
    let fragments = document.fragment_definitions().iter().map(|fragment| (fragment.name().as_str(), fragment));
    let mut converter =
        Converter { language, source, fragments: fragments.collect(), names: HashMap::new(), errors: Vec::new() };
    let operations = document.operation_definitions().iter().filter_map(|operation| converter.operation(operation));
    let operations = operations.collect();
    if converter.errors.is_empty() { Ok(operations) } else { Err(converter.errors) }
}

struct Converter<'a> {
    language: &'a Language,
    source: &'a Source<'a>,
    fragments: HashMap<&'a str, &'a FragmentDefinition<'a>>,
    /// Each name once: what is kept for long repeats few names often.
    names: HashMap<&'a str, Name>,
    errors: Vec<ServerError>,
}

impl<'a> Converter<'a> {
    fn operation(&mut self, operation: &'a OperationDefinition<'a>) -> Option<Unfolded> {
        let schema = self.language.schema;
        let parts = operation.as_ref();
        let (kind, root) = match parts.operation_type() {
            bluejay_core::OperationType::Query => (OperationType::Query, Some(schema.query())),
            bluejay_core::OperationType::Mutation => (OperationType::Mutation, schema.mutation()),
            bluejay_core::OperationType::Subscription => (OperationType::Subscription, schema.subscription()),
        };
        let root = ObjectTypeDefinition::name(root?);
        let mut variables = Vec::new();
        let mut definitions = Vec::new();
        for definition in each(parts.variable_definitions()) {
            let at = self.source.start(definition.variable());
            let name = self.name(definition.variable().name());
            let of = self.language.inputs.of_variable(definition.r#type())?;
            let written = definition.default_value().map(|value| self.constant(value));
            let default = written.and_then(|value| {
                let subject = format!("The default of variable \"${name}");
                let coerced = coerce(&self.language.inputs, &subject, value, &of);
                coerced.map_err(|messages| self.refuse(messages, at)).ok()
            });
            let declared = type_text(definition.r#type());
            let var_type = Positioned::new(self.declared(definition.r#type()), at);
            let stored = VariableDefinition {
                name: Positioned::new(name.clone(), at),
                var_type,
                directives: Vec::new(),
                default_value: None,
            };
            definitions.push(Positioned::new(stored, at));
            variables.push(Variable { name, at, of, declared, default });
        }
        let parent = schema.get_type_definition(root)?;
        let mut items = Vec::new();
        self.selections(operation.selection_set(), parent, &mut items);
        let name = parts.name().map(ToOwned::to_owned);
        Some(Unfolded { name, kind, root, variables, definitions, selections: SelectionSet { items } })
    }

    fn selections(
        &mut self,
        set: &'a ast::executable::SelectionSet<'a>,
        parent: Named<'static>,
        into: &mut Vec<Positioned<Selection>>,
    ) {
        for selection in set.iter() {
            match selection {
                ast::executable::Selection::Field(field) => into.extend(self.field(field, parent)),
                ast::executable::Selection::InlineFragment(inline) => {
                    let on = inline.type_condition().map(|condition| condition.named_type().as_str());
                    let directives = bluejay_core::executable::InlineFragment::directives(inline);
                    self.fragment((inline.selection_set(), on, directives), self.source.start(inline), parent, into);
                }
                ast::executable::Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.fragments.get(spread.name().as_str()).copied() else { continue };
                    let on = Some(fragment.type_condition().named_type().as_str());
                    let directives = bluejay_core::executable::FragmentSpread::directives(spread);
                    self.fragment((fragment.selection_set(), on, directives), self.source.start(spread), parent, into);
                }
            }
        }
    }

    /// Puts the selections of a fragment in place of it, in a typed fragment only where type or condition matter.
    fn fragment(
        &mut self,
        (set, on, directives): (
            &'a ast::executable::SelectionSet<'a>,
            Option<&'a str>,
            Option<&'a VariableDirectives<'a>>,
        ),
        at: Pos,
        parent: Named<'static>,
        into: &mut Vec<Positioned<Selection>>,
    ) {
        let schema = self.language.schema;
        let Some(inner) = on.map_or(Some(parent), |on| schema.get_type_definition(on)) else { return };
        let directives = self.conditions(directives);
        // Within it is the type that its fields are looked up in.
        if directives.is_empty() && inner.name() == parent.name() {
            return self.selections(set, parent, into);
        }
        let mut items = Vec::new();
        self.selections(set, inner, &mut items);
        let on = self.name(inner.name());
        let inline = InlineFragment {
            type_condition: Some(Positioned::new(TypeCondition { on: Positioned::new(on, at) }, at)),
            directives,
            selection_set: Positioned::new(SelectionSet { items }, at),
        };
        into.push(Positioned::new(Selection::InlineFragment(Positioned::new(inline, at)), at));
    }

    fn field(
        &mut self,
        field: &'a ast::executable::Field<'a>,
        parent: Named<'static>,
    ) -> Option<Positioned<Selection>> {
        let schema = self.language.schema;
        let definition = types::field(schema, &parent, field.name().as_str())?;
        let (at, name_at) = (self.source.start(field), self.source.start(field.name()));
        let mut arguments = Vec::new();
        for argument in each(field.arguments()) {
            let name = self.name(argument.name().as_str());
            let value = self.literal(argument.value());
            let value_at = self.source.start(argument.value());
            let declared = definition.arguments_definition().and_then(|known| known.get(argument.name().as_str()));
            if let Some(of) = declared.and_then(|known| self.language.inputs.of(&known.r#type().as_shallow_ref())) {
                self.scalars(&value, &of, &mut argument.name().as_str().to_owned(), value_at);
            }
            arguments.push((Positioned::new(name, self.source.start(argument)), Positioned::new(value, value_at)));
        }
        let mut items = Vec::new();
        if let Some((set, inner)) = field.selection_set().zip(types::result(schema, definition)) {
            self.selections(set, inner, &mut items);
        }
        let field = Field {
            alias: field.alias().map(|alias| Positioned::new(self.name(alias), at)),
            name: Positioned::new(self.name(field.name().as_str()), name_at),
            arguments,
            directives: self.conditions(field.directives()),
            selection_set: Positioned::new(SelectionSet { items }, name_at),
        };
        Some(Positioned::new(Selection::Field(Positioned::new(field, at)), at))
    }

    /// `@skip` and `@include`: validation knows no others here.
    fn conditions(&mut self, directives: Option<&'a VariableDirectives<'a>>) -> Vec<Positioned<Directive>> {
        let mut conditions = Vec::new();
        for directive in each(directives) {
            let at = self.source.start(directive);
            let mut arguments = Vec::new();
            for argument in each(directive.arguments()) {
                let name = Positioned::new(self.name(argument.name().as_str()), self.source.start(argument));
                arguments.push((name, Positioned::new(self.literal(argument.value()), at)));
            }
            let name = Positioned::new(self.name(directive.name().as_str()), at);
            conditions.push(Positioned::new(Directive { name, arguments }, at));
        }
        conditions
    }

    fn name(&mut self, name: &'a str) -> Name {
        self.names.entry(name).or_insert_with(|| Name::new(name)).clone()
    }

    fn declared(&mut self, of: &'a VariableType<'a>) -> Type {
        match of {
            VariableType::Named { name, is_required, .. } => {
                Type { base: BaseType::Named(self.name(name.as_str())), nullable: !is_required }
            }
            VariableType::List { inner, is_required, .. } => {
                Type { base: BaseType::List(Box::new(self.declared(inner))), nullable: !is_required }
            }
        }
    }

    fn literal(&mut self, value: &'a ast::Value<'a, false>) -> Literal {
        match value {
            ast::Value::Variable(variable) => Literal::Variable(self.name(variable.name())),
            ast::Value::List(list) => Literal::List(list.iter().map(|item| self.literal(item)).collect()),
            ast::Value::Object(object) => {
                let fields = bluejay_core::ObjectValue::iter(object);
                Literal::Object(fields.map(|(key, value)| (self.name(key.as_str()), self.literal(value))).collect())
            }
            other => self.leaf(other).into_value(),
        }
    }

    fn constant(&mut self, value: &'a ast::Value<'a, true>) -> Value {
        match value {
            ast::Value::List(list) => Value::List(list.iter().map(|item| self.constant(item)).collect()),
            ast::Value::Object(object) => {
                let fields = bluejay_core::ObjectValue::iter(object);
                let fields = fields.map(|(key, value)| (self.name(key.as_str()), self.constant(value)));
                Value::Object(fields.collect::<IndexMap<_, _>>())
            }
            other => self.leaf(other),
        }
    }

    /// A value without others in it.
    fn leaf<const CONST: bool>(&mut self, value: &'a ast::Value<'a, CONST>) -> Value {
        match value {
            ast::Value::Integer(digits) => Value::Number(whole(digits.as_ref())),
            ast::Value::Float(float) => Number::from_f64(*float.as_ref()).map_or(Value::Null, Value::Number),
            ast::Value::String(text) => Value::String(text.as_str().to_owned()),
            ast::Value::Boolean(_) => {
                let text = self.source.text().get(value.span().byte_range());
                Value::Boolean(text == Some("true"))
            }
            ast::Value::Enum(name) => Value::Enum(self.name(name.as_str())),
            ast::Value::Null(_) | ast::Value::Variable(_) | ast::Value::List(_) | ast::Value::Object(_) => Value::Null,
        }
    }

    /// Has the custom scalars of a literal parsed; `place` is the way to it.
    fn scalars(&mut self, value: &Literal, of: &TypeRef, place: &mut String, at: Pos) {
        match (of, value) {
            (_, Literal::Variable(_) | Literal::Null) => {}
            (TypeRef::List { item, .. }, Literal::List(items)) => {
                for (index, value) in items.iter().enumerate() {
                    self.step(place, &index.to_string(), |this, place| this.scalars(value, item, place, at));
                }
            }
            (TypeRef::List { item, .. }, value) => self.scalars(value, item, place, at),
            (TypeRef::Named { number, .. }, value) => match (self.language.inputs.get(*number), value) {
                (InputType::Scalar { name, parse: Some(parse) }, value) => {
                    // No scalar of ours is made of parts, so a variable cannot be in it.
                    let written = value.clone().into_const().ok_or_else(|| format!("{name} takes no variables inside"));
                    if let Err(message) = written.and_then(parse) {
                        let message = format!("Invalid value for argument \"{place}\": {message}.");
                        self.errors.push(failure(ErrorCode::BadUserInput, message, Some(at)));
                    }
                }
                (InputType::Object { fields, .. }, Literal::Object(written)) => {
                    for field in fields {
                        if let Some(value) = written.get(field.name.as_str()) {
                            self.step(place, &field.name, |this, place| this.scalars(value, &field.of, place, at));
                        }
                    }
                }
                _ => {}
            },
        }
    }

    fn step(&mut self, place: &mut String, step: &str, go: impl FnOnce(&mut Self, &mut String)) {
        let length = place.len();
        place.push('.');
        place.push_str(step);
        go(self, place);
        place.truncate(length);
    }

    fn refuse(&mut self, messages: Vec<String>, at: Pos) {
        let errors = messages.into_iter().map(|message| failure(ErrorCode::BadUserInput, message, Some(at)));
        self.errors.extend(errors);
    }
}

/// The number that digits stand for; a float beyond the range of integers.
fn whole(digits: &str) -> Number {
    if let Ok(number) = digits.parse::<i64>() {
        return number.into();
    }
    if let Ok(number) = digits.parse::<u64>() {
        return number.into();
    }
    digits.parse().ok().and_then(Number::from_f64).unwrap_or_else(|| i64::MAX.into())
}

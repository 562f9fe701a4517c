//! What is wrong with a document, in words that name the place and the fix.
//!
//! Owns the text and the code of each of the library's errors: its own words draw pictures of the text for a terminal and
//! suggest nothing. Called by [`super::rules`] for a document that is refused, so what is looked up here may take its
//! time.

use async_graphql::{Pos, ServerError};
use bluejay_core::{
    AsIter,
    definition::{
        EnumTypeDefinition as _, EnumValueDefinition, FieldDefinition, InputObjectTypeDefinition as _, InputType as _,
        InputValueDefinition, OutputType as _, SchemaDefinition as _, TypeDefinitionReference,
    },
    executable::OperationDefinition as _,
};
use bluejay_parser::{
    HasSpan, Span,
    ast::{
        Argument, Value,
        executable::{Selection, SelectionSet, VariableType},
    },
};
use bluejay_validator::{
    executable::document::{ArgumentError, DirectiveError},
    value::input_coercion::Error as ValueError,
};

use super::{
    rules::{Ast, Mistake},
    source::{Source, offset},
    suggest::suggestion,
    types::{Schema, each, is_addition, is_addition_of_any},
};
use crate::graphql::{errors::ErrorCode, limits::failure};

/// Tells mistakes of one document.
pub(super) struct Words<'a> {
    source: &'a Source<'a>,
    document: &'a Ast<'a>,
    schema: &'static Schema,
}

impl<'a> Words<'a> {
    pub(super) fn new(source: &'a Source<'a>, document: &'a Ast<'a>, schema: &'static Schema) -> Self {
        Self { source, document, schema }
    }

    /// The mistake as an error; none if it is no mistake in this edition.
    #[expect(clippy::too_many_lines, reason = "one sentence for each of the library's errors, in one list")]
    pub(super) fn tell(&self, mistake: Mistake<'a>) -> Option<ServerError> {
        let (message, at) = match mistake {
            Mistake::NonUniqueOperationNames { name, operations } => {
                let at = operations.last().and_then(|operation| operation.name()).map(|name| self.start(name));
                (format!("There can be only one operation named \"{name}\"."), at)
            }
            Mistake::NotLoneAnonymousOperation { anonymous_operations } => (
                "An operation without a name must be the only one: give each a name.".to_owned(),
                anonymous_operations.first().map(|operation| self.start(*operation)),
            ),
            Mistake::SubscriptionRootNotSingleField { operation } => {
                ("A subscription must select only one root field.".to_owned(), Some(self.start(operation)))
            }
            Mistake::FieldDoesNotExistOnType { field, r#type } => {
                let name = field.name().as_str();
                if is_addition(r#type.name(), name) && field.selection_set().is_none() && field.arguments().is_none() {
                    return None;
                }
                (self.unknown_field(name, r#type), Some(self.start(field)))
            }
            Mistake::OperationTypeNotDefined { operation } => {
                let kind = bluejay_core::OperationType::from(operation.operation_type());
                (format!("This schema has no {kind}s."), Some(self.start(operation)))
            }
            Mistake::LeafFieldSelectionNotEmpty { selection_set, r#type } => {
                let name = self.field_before(selection_set);
                let of = r#type.display_name();
                (
                    format!("Field \"{name}\" must not have a selection, since \"{of}\" has no subfields."),
                    Some(self.start(selection_set)),
                )
            }
            Mistake::NonLeafFieldSelectionEmpty { field, r#type } => {
                let (name, of) = (field.name().as_str(), r#type.display_name());
                (
                    format!(
                        "Field \"{name}\" of type \"{of}\" must have a selection of subfields: \"{name} {{ ... }}\"."
                    ),
                    Some(self.start(field)),
                )
            }
            Mistake::NonUniqueFragmentDefinitionNames { name, fragment_definitions } => (
                format!("There can be only one fragment named \"{name}\"."),
                fragment_definitions.last().map(|fragment| self.start(fragment.name())),
            ),
            Mistake::FragmentDefinitionTargetTypeDoesNotExist { fragment_definition } => {
                let on = fragment_definition.type_condition().named_type();
                (self.unknown_type(on.as_str()), Some(self.start(on)))
            }
            Mistake::InlineFragmentTargetTypeDoesNotExist { inline_fragment } => {
                let on = inline_fragment.type_condition().map(|condition| condition.named_type());
                (self.unknown_type(on.map_or("", |on| on.as_str())), on.map(|on| self.start(on)))
            }
            Mistake::FragmentDefinitionTargetTypeNotComposite { fragment_definition } => {
                let on = fragment_definition.type_condition().named_type();
                let name = fragment_definition.name().as_str();
                (
                    format!("Fragment \"{name}\" cannot be on \"{}\", which has no fields.", on.as_str()),
                    Some(self.start(on)),
                )
            }
            Mistake::InlineFragmentTargetTypeNotComposite { inline_fragment } => {
                let on = inline_fragment.type_condition().map(|condition| condition.named_type());
                let name = on.map_or("", |on| on.as_str());
                (format!("A fragment cannot be on \"{name}\", which has no fields."), on.map(|on| self.start(on)))
            }
            Mistake::FragmentDefinitionUnused { fragment_definition } => (
                format!("Fragment \"{}\" is never used.", fragment_definition.name().as_str()),
                Some(self.start(fragment_definition)),
            ),
            Mistake::FragmentSpreadTargetUndefined { fragment_spread } => {
                let name = fragment_spread.name().as_str();
                let known = self.document.fragment_definitions().iter().map(|fragment| fragment.name().as_str());
                (format!("Unknown fragment \"{name}\".{}", suggestion(name, known)), Some(self.start(fragment_spread)))
            }
            Mistake::FragmentSpreadCycle { fragment_definition, fragment_spread } => (
                format!("Cannot spread fragment \"{}\" within itself.", fragment_definition.name().as_str()),
                Some(self.start(fragment_spread)),
            ),
            Mistake::FieldSelectionsDoNotMergeIncompatibleTypes { field_b, .. }
            | Mistake::FieldSelectionsDoNotMergeDifferingNames { field_b, .. }
            | Mistake::FieldSelectionsDoNotMergeDifferingArguments { field_b, .. } => {
                (format!("Fields \"{}\" conflict.", field_b.response_key()), Some(self.start(field_b)))
            }
            Mistake::FragmentSpreadIsNotPossible { fragment_spread, parent_type } => {
                let name = fragment_spread.name().as_str();
                (
                    format!(
                        "Fragment \"{name}\" cannot be spread in \"{}\", which is never of its type.",
                        parent_type.name()
                    ),
                    Some(self.start(fragment_spread)),
                )
            }
            Mistake::InlineFragmentSpreadIsNotPossible { inline_fragment, parent_type } => {
                let on = inline_fragment.type_condition().map_or("", |condition| condition.named_type().as_str());
                (
                    format!(
                        "A fragment on \"{on}\" cannot be spread in \"{}\", which is never of that type.",
                        parent_type.name()
                    ),
                    Some(self.start(inline_fragment)),
                )
            }
            Mistake::InvalidConstValue(error) => return Some(self.value(&error)),
            Mistake::InvalidVariableValue(error) => return Some(self.value(&error)),
            Mistake::InvalidConstDirective(error) => self.directive(&error),
            Mistake::InvalidVariableDirective(error) => self.directive(&error),
            Mistake::InvalidConstArgument(error) => self.argument(error),
            Mistake::InvalidVariableArgument(error) => self.argument(error),
            Mistake::NonUniqueVariableDefinitionNames { name, variable_definitions } => (
                format!("There can be only one variable named \"${name}\"."),
                variable_definitions.last().map(|definition| self.start(definition.variable())),
            ),
            Mistake::VariableDefinitionTypeNotInput { variable_definition } => {
                let (variable, of) = (variable_definition.variable(), base(variable_definition.r#type()));
                let known = self.schema.get_type_definition(of).is_some();
                let message = if known {
                    format!("Variable \"${}\" cannot be of type \"{of}\", which is not for input.", variable.name())
                } else {
                    self.unknown_type(of)
                };
                (message, Some(self.start(variable_definition.r#type())))
            }
            Mistake::VariableNotDefined { variable, operation_definition } => {
                let by = operation_definition
                    .as_ref()
                    .name()
                    .map_or_else(|| "this operation".to_owned(), |name| format!("operation \"{name}\""));
                (format!("Variable \"${}\" is not defined by {by}.", variable.name()), Some(self.start(variable)))
            }
            Mistake::VariableDefinitionUnused { variable_definition } => {
                let variable = variable_definition.variable();
                if self.decides_on_addition(variable.name()) {
                    return None;
                }
                (format!("Variable \"${}\" is never used.", variable.name()), Some(self.start(variable)))
            }
            Mistake::InvalidVariableUsage { variable, variable_type, location_type } => {
                let (name, of, expected) = (variable.name(), type_text(variable_type), location_type.display_name());
                (
                    format!("Variable \"${name}\" of type \"{of}\" cannot stand where \"{expected}\" is expected."),
                    Some(self.start(variable)),
                )
            }
            Mistake::InvalidOneOfVariableUsage { variable, parent_type_name, .. } => (
                format!(
                    "Variable \"${}\" must be of a non-null type, since it is the one field of \"{parent_type_name}\".",
                    variable.name()
                ),
                Some(self.start(variable)),
            ),
        };
        Some(failure(ErrorCode::GraphqlValidationFailed, message, at))
    }

    fn start(&self, what: &impl HasSpan) -> Pos {
        self.source.start(what)
    }

    fn unknown_field(&self, name: &str, of: TypeDefinitionReference<'_, Schema>) -> String {
        let known = each(of.fields_definition()).map(FieldDefinition::name);
        let mut near = suggestion(name, known);
        if near.is_empty() && of.is_abstract() {
            // Often what a client means is a field of one of the types behind it.
            let objects = super::types::objects(self.schema, &of);
            let having = objects.into_iter().find(|object| {
                let object = self.schema.get_type_definition(object);
                object.is_some_and(|object| super::types::field(self.schema, &object, name).is_some())
            });
            near = having
                .map_or(near, |object| format!(" Did you mean to ask for it in \"... on {object} {{ {name} }}\"?"));
        }
        format!("Unknown field \"{name}\" on type \"{}\".{near}", of.name())
    }

    fn unknown_type(&self, name: &str) -> String {
        let known = self.schema.type_definitions().map(|named| named.name());
        format!("Unknown type \"{name}\".{}", suggestion(name, known))
    }

    fn argument<const CONST: bool>(&self, error: ArgumentError<'a, CONST, Ast<'a>, Schema>) -> (String, Option<Pos>) {
        let names = |missing: &[&'a <Schema as bluejay_core::definition::SchemaDefinition>::InputValueDefinition]| {
            let named = missing.iter().map(|one| {
                format!("\"{}\" of type \"{}\"", InputValueDefinition::name(*one), one.r#type().display_name())
            });
            named.collect::<Vec<_>>().join(", ")
        };
        match error {
            ArgumentError::NonUniqueArgumentNames { arguments, name } => (
                format!("There can be only one argument named \"{name}\"."),
                arguments.last().map(|argument| self.start(argument.name())),
            ),
            ArgumentError::ArgumentDoesNotExistOnField { argument, field_definition } => {
                let sent = argument.name().as_str();
                let known = each(field_definition.arguments_definition());
                let near = suggestion(sent, known.map(InputValueDefinition::name));
                let field = field_definition.name();
                (format!("Unknown argument \"{sent}\" on field \"{field}\".{near}"), Some(self.start(argument.name())))
            }
            ArgumentError::ArgumentDoesNotExistOnDirective { argument, directive_definition } => {
                let (sent, directive) = (
                    argument.name().as_str(),
                    bluejay_core::definition::DirectiveDefinition::name(directive_definition),
                );
                (
                    format!("Unknown argument \"{sent}\" on directive \"@{directive}\"."),
                    Some(self.start(argument.name())),
                )
            }
            ArgumentError::DirectiveMissingRequiredArguments { directive, missing_argument_definitions, .. } => (
                format!(
                    "Directive \"@{}\" needs the argument {}.",
                    directive.name().as_str(),
                    names(&missing_argument_definitions)
                ),
                Some(self.start(directive)),
            ),
            ArgumentError::FieldMissingRequiredArguments { field, missing_argument_definitions, .. } => (
                format!(
                    "Field \"{}\" needs the argument {}.",
                    field.name().as_str(),
                    names(&missing_argument_definitions)
                ),
                Some(self.start(field)),
            ),
        }
    }

    fn directive<const CONST: bool>(
        &self,
        error: &DirectiveError<'a, CONST, Ast<'a>, Schema>,
    ) -> (String, Option<Pos>) {
        match error {
            DirectiveError::DirectiveDoesNotExist { directive } => {
                let name = directive.name().as_str();
                let known =
                    self.schema.directive_definitions().map(bluejay_core::definition::DirectiveDefinition::name);
                (format!("Unknown directive \"{name}\".{}", suggestion(name, known)), Some(self.start(*directive)))
            }
            DirectiveError::DirectiveInInvalidLocation { directive, location, .. } => (
                format!("Directive \"@{}\" may not be used on {location}.", directive.name().as_str()),
                Some(self.start(*directive)),
            ),
            DirectiveError::DirectivesNotUniquePerLocation { directives, .. } => {
                let last = directives.last();
                let name = last.map_or("", |directive| directive.name().as_str());
                (
                    format!("Directive \"@{name}\" can be used only once here."),
                    last.map(|directive| self.start(*directive)),
                )
            }
        }
    }

    /// A value that its argument or variable cannot take.
    fn value<const CONST: bool>(&self, error: &ValueError<'a, CONST, Value<'a, CONST>>) -> ServerError {
        let (span, path, what) = match error {
            ValueError::NullValueForRequiredType { value, input_type_name, path } => {
                (*value.span(), path, format!("\"{input_type_name}\" must not be null"))
            }
            ValueError::NoImplicitConversion { value, input_type_name, path } => {
                (*value.span(), path, format!("expected type \"{input_type_name}\", but this is {}", kind(value)))
            }
            ValueError::IntegerOutOfRange { value, path } => {
                (*value.span(), path, "expected type \"Int\", but this number is out of its range".to_owned())
            }
            ValueError::NonFiniteFloat { value, path } => {
                (*value.span(), path, "expected type \"Float\", but this number is out of its range".to_owned())
            }
            ValueError::NoEnumMemberWithName { name, value, enum_type_name, path } => {
                let near = suggestion(name, self.enum_values(enum_type_name));
                (*value.span(), path, format!("the enum \"{enum_type_name}\" has no value \"{name}\".{near}"))
            }
            ValueError::NoValueForRequiredFields { value, field_names, input_object_type_name, path } => {
                let names: Vec<_> = field_names.iter().map(|name| format!("\"{name}\"")).collect();
                let what = format!("\"{input_object_type_name}\" needs the field {}", names.join(", "));
                (*value.span(), path, what)
            }
            ValueError::NonUniqueFieldNames { field_name, keys, path, value } => {
                let at = keys.last().map_or(*value.span(), |key| *key.span());
                let message = format!("There can be only one input field named \"{field_name}\".");
                let _ = path;
                return failure(ErrorCode::GraphqlValidationFailed, message, Some(self.source.at(offset(at))));
            }
            ValueError::NoInputFieldWithName { field, input_object_type_name, path } => {
                let near = suggestion(field.as_str(), self.input_fields(input_object_type_name));
                let what = format!("\"{input_object_type_name}\" has no field \"{}\".{near}", field.as_str());
                (*field.span(), path, what)
            }
            ValueError::CustomScalarInvalidValue { value, message, path, .. } => {
                (*value.span(), path, message.to_string())
            }
            ValueError::OneOfInputNullValues { value, input_object_type_name, path, .. } => {
                (*value.span(), path, format!("the one field of \"{input_object_type_name}\" must not be null"))
            }
            ValueError::OneOfInputNotSingleNonNullValue { value, input_object_type_name, path, .. } => {
                (*value.span(), path, format!("\"{input_object_type_name}\" needs exactly one field"))
            }
        };
        let at = self.source.at(offset(span));
        let mut place = self.holder(span).unwrap_or_else(|| "a variable's default".to_owned());
        for step in path.to_vec::<String>() {
            place.push('.');
            place.push_str(&step);
        }
        let end = if what.ends_with('?') || what.ends_with('.') { "" } else { "." };
        failure(ErrorCode::BadUserInput, format!("Invalid value for argument \"{place}\": {what}{end}"), Some(at))
    }

    fn enum_values(&self, name: &str) -> Vec<&'static str> {
        match self.schema.get_type_definition(name) {
            Some(TypeDefinitionReference::Enum(one)) => {
                one.enum_value_definitions().iter().map(EnumValueDefinition::name).collect()
            }
            _ => Vec::new(),
        }
    }

    fn input_fields(&self, name: &str) -> Vec<&'static str> {
        match self.schema.get_type_definition(name) {
            Some(TypeDefinitionReference::InputObject(one)) => {
                one.input_field_definitions().iter().map(InputValueDefinition::name).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The name of the argument, or of the variable, whose value stands at this place.
    fn holder(&self, span: Span) -> Option<String> {
        let at = offset(span);
        let operations = self.document.operation_definitions().iter();
        let found = operations.clone().find_map(|operation| in_set(operation.selection_set(), at));
        let found = found.or_else(|| {
            self.document.fragment_definitions().iter().find_map(|fragment| in_set(fragment.selection_set(), at))
        });
        found.or_else(|| {
            for operation in operations {
                let mut definitions = each(operation.as_ref().variable_definitions());
                let here = |value: &Value<'_, true>| value.span().byte_range().contains(&at);
                if let Some(found) = definitions.find(|definition| definition.default_value().is_some_and(here)) {
                    return Some(format!("${}", found.variable().name()));
                }
            }
            None
        })
    }

    /// Whether a condition of a field that the library does not know holds this variable.
    fn decides_on_addition(&self, variable: &str) -> bool {
        fn within(set: &SelectionSet<'_>, variable: &str) -> bool {
            set.iter().any(|selection| match selection {
                Selection::Field(field) => {
                    let conditions = each(bluejay_core::executable::Field::directives(field));
                    let holds =
                        |value: &Value<'_, false>| matches!(value, Value::Variable(it) if it.name() == variable);
                    let mut arguments =
                        conditions.flat_map(|condition| each(bluejay_core::Directive::arguments(condition)));
                    is_addition_of_any(field.name().as_str()) && arguments.any(|argument| holds(argument.value()))
                        || field.selection_set().is_some_and(|set| within(set, variable))
                }
                Selection::InlineFragment(inline) => within(inline.selection_set(), variable),
                Selection::FragmentSpread(_) => false,
            })
        }
        let operations = self
            .document
            .operation_definitions()
            .iter()
            .map(bluejay_parser::ast::executable::OperationDefinition::selection_set);
        let fragments = self.document.fragment_definitions().iter().map(|fragment| fragment.selection_set());
        operations.chain(fragments).any(|set| within(set, variable))
    }

    /// The name of the field that a selection set belongs to.
    fn field_before(&self, set: &SelectionSet<'_>) -> String {
        fn find<'a>(within: &'a SelectionSet<'a>, at: usize) -> Option<&'a str> {
            within.iter().find_map(|selection| match selection {
                Selection::Field(field) => {
                    let own = field.selection_set()?;
                    if offset(*own.span()) == at { Some(field.name().as_str()) } else { find(own, at) }
                }
                Selection::InlineFragment(inline) => find(inline.selection_set(), at),
                Selection::FragmentSpread(_) => None,
            })
        }
        let at = offset(*set.span());
        let operations = self
            .document
            .operation_definitions()
            .iter()
            .map(bluejay_parser::ast::executable::OperationDefinition::selection_set);
        let fragments = self.document.fragment_definitions().iter().map(|fragment| fragment.selection_set());
        operations.chain(fragments).find_map(|set| find(set, at)).unwrap_or_default().to_owned()
    }
}

/// The argument of a field or directive in this set whose value stands at a place.
fn in_set(set: &SelectionSet<'_>, at: usize) -> Option<String> {
    fn in_arguments<'a>(arguments: impl Iterator<Item = &'a Argument<'a, false>>, at: usize) -> Option<String> {
        let mut arguments = arguments;
        let found = arguments.find(|argument| argument.value().span().byte_range().contains(&at));
        found.map(|argument| argument.name().as_str().to_owned())
    }
    set.iter().find_map(|selection| {
        let directives = bluejay_core::executable::Selection::as_ref(selection).directives();
        let of_directives = each(directives)
            .find_map(|directive| in_arguments(each(bluejay_core::Directive::arguments(directive)), at));
        of_directives.or_else(|| match selection {
            Selection::Field(field) => {
                let own = in_arguments(each(field.arguments()), at);
                own.or_else(|| in_set(field.selection_set()?, at))
            }
            Selection::InlineFragment(inline) => in_set(inline.selection_set(), at),
            Selection::FragmentSpread(_) => None,
        })
    })
}

fn base<'a>(of: &'a VariableType<'_>) -> &'a str {
    match of {
        VariableType::Named { name, .. } => name.as_str(),
        VariableType::List { inner, .. } => base(inner),
    }
}

/// A type as the operation writes it.
pub(super) fn type_text(of: &VariableType<'_>) -> String {
    match of {
        VariableType::Named { name, is_required, .. } => {
            format!("{}{}", name.as_str(), if *is_required { "!" } else { "" })
        }
        VariableType::List { inner, is_required, .. } => {
            format!("[{}]{}", type_text(inner), if *is_required { "!" } else { "" })
        }
    }
}

fn kind<const CONST: bool>(value: &Value<'_, CONST>) -> &'static str {
    match value {
        Value::Variable(_) => "a variable",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::String(_) => "a string",
        Value::Boolean(_) => "a boolean",
        Value::Null(_) => "null",
        Value::Enum(_) => "a name without quotes",
        Value::List(_) => "a list",
        Value::Object(_) => "an object",
    }
}

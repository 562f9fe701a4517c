//! The input types of the schema, as values are coerced by them.
//!
//! Owns a table of scalars, enums and input objects that refer to each other by number: variables are coerced on every
//! request, and a number is found faster than a name. Made once from the parsed schema; read by [`super::coerce`] and
//! [`super::convert`].

use std::collections::HashMap;

use async_graphql::{Name, Value};
use bluejay_core::{
    AsIter,
    definition::{
        EnumTypeDefinition as _, HasDirectives as _, InputObjectTypeDefinition as _, InputType as _,
        InputValueDefinition as _, SchemaDefinition as _, ShallowInputTypeReference, TypeDefinitionReference,
    },
};
use bluejay_parser::ast::executable::VariableType;

use super::types::{Schema, each};

/// Says what is wrong with a value of a custom scalar, if it is none.
pub type ScalarParser = fn(Value) -> Result<(), String>;

/// All input types.
pub(super) struct Inputs {
    types: Vec<InputType>,
    numbers: HashMap<String, usize>,
}

/// One of them.
pub(super) enum InputType {
    Int,
    Float,
    String,
    Boolean,
    Id,
    Scalar {
        name: String,
        parse: Option<ScalarParser>,
    },
    Enum {
        name: String,
        values: Vec<String>,
    },
    Object {
        name: String,
        fields: Vec<InputField>,
        one_of: bool,
    },
    /// Not for input: objects, interfaces and unions.
    Output,
}

/// A field of an input object.
pub(super) struct InputField {
    pub(super) name: Name,
    pub(super) of: TypeRef,
    /// Whether it may be left out: it may be null, or has a default.
    pub(super) optional: bool,
}

/// A reference to an input type, with its lists and exclamation marks.
#[derive(Clone, Debug)]
pub(super) enum TypeRef {
    Named { number: usize, nullable: bool },
    List { item: Box<TypeRef>, nullable: bool },
}

impl TypeRef {
    pub(super) fn nullable(&self) -> bool {
        match self {
            Self::Named { nullable, .. } | Self::List { nullable, .. } => *nullable,
        }
    }
}

impl Inputs {
    /// The table of a schema; `scalars` are the custom scalars that can tell what a value of theirs is.
    pub(super) fn new(schema: &Schema, scalars: &[(&str, ScalarParser)]) -> Self {
        let numbers =
            schema.type_definitions().enumerate().map(|(number, named)| (named.name().to_owned(), number)).collect();
        let mut inputs = Self { types: Vec::new(), numbers };
        for named in schema.type_definitions() {
            let described = inputs.describe(&named, scalars);
            inputs.types.push(described);
        }
        inputs
    }

    fn describe(&self, named: &TypeDefinitionReference<'_, Schema>, scalars: &[(&str, ScalarParser)]) -> InputType {
        match named {
            TypeDefinitionReference::BuiltinScalar(scalar) => match scalar.name() {
                "Int" => InputType::Int,
                "Float" => InputType::Float,
                "Boolean" => InputType::Boolean,
                "ID" => InputType::Id,
                _ => InputType::String,
            },
            TypeDefinitionReference::CustomScalar(scalar) => {
                let name = bluejay_core::definition::ScalarTypeDefinition::name(*scalar).to_owned();
                let parse = scalars.iter().find(|(known, _)| *known == name).map(|(_, parse)| *parse);
                InputType::Scalar { name, parse }
            }
            TypeDefinitionReference::Enum(one) => InputType::Enum {
                name: bluejay_core::definition::EnumTypeDefinition::name(*one).to_owned(),
                values: one
                    .enum_value_definitions()
                    .iter()
                    .map(|value| bluejay_core::definition::EnumValueDefinition::name(value).to_owned())
                    .collect(),
            },
            TypeDefinitionReference::InputObject(object) => {
                let fields = object.input_field_definitions().iter().filter_map(|field| {
                    let of = self.of(&field.r#type().as_shallow_ref())?;
                    let optional = of.nullable() || field.default_value().is_some();
                    let name = bluejay_core::definition::InputValueDefinition::name(field);
                    Some(InputField { name: Name::new(name), of, optional })
                });
                let mut directives = each(object.directives());
                InputType::Object {
                    name: bluejay_core::definition::InputObjectTypeDefinition::name(*object).to_owned(),
                    fields: fields.collect(),
                    one_of: directives.any(|directive| bluejay_core::Directive::name(directive) == "oneOf"),
                }
            }
            TypeDefinitionReference::Object(_)
            | TypeDefinitionReference::Interface(_)
            | TypeDefinitionReference::Union(_) => InputType::Output,
        }
    }

    /// The type of an argument or input field.
    pub(super) fn of(&self, declared: &ShallowInputTypeReference<'_, Schema>) -> Option<TypeRef> {
        Some(match declared {
            ShallowInputTypeReference::Base(name, required) => {
                TypeRef::Named { number: *self.numbers.get(*name)?, nullable: !required }
            }
            ShallowInputTypeReference::List(item, required) => {
                TypeRef::List { item: Box::new(self.of(&item.as_shallow_ref())?), nullable: !required }
            }
        })
    }

    /// The type that an operation declares for a variable.
    pub(super) fn of_variable(&self, declared: &VariableType<'_>) -> Option<TypeRef> {
        Some(match declared {
            VariableType::Named { name, is_required, .. } => {
                TypeRef::Named { number: *self.numbers.get(name.as_str())?, nullable: !is_required }
            }
            VariableType::List { inner, is_required, .. } => {
                TypeRef::List { item: Box::new(self.of_variable(inner)?), nullable: !is_required }
            }
        })
    }

    /// The type with this number.
    pub(super) fn get(&self, number: usize) -> &InputType {
        self.types.get(number).unwrap_or(&InputType::Output)
    }

    /// A type as the schema definition language writes it.
    pub(super) fn text(&self, of: &TypeRef) -> String {
        let mark = if of.nullable() { "" } else { "!" };
        match of {
            TypeRef::Named { number, .. } => format!("{}{mark}", self.get(*number).name()),
            TypeRef::List { item, .. } => format!("[{}]{mark}", self.text(item)),
        }
    }
}

impl InputType {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Int => "Int",
            Self::Float => "Float",
            Self::String => "String",
            Self::Boolean => "Boolean",
            Self::Id => "ID",
            Self::Scalar { name, .. } | Self::Enum { name, .. } | Self::Object { name, .. } => name,
            Self::Output => "a type of results",
        }
    }
}

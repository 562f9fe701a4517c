//! The schema as the checks of this module ask for it.
//!
//! Owns the one parsed schema of a [`Language`](super::Language) and the questions that the libraries' own types do not
//! answer: what a field of a type is, which objects an abstract type stands for, and whether one type covers another.
//!
//! bluejay 0.5 knows the introspection types of the edition of 2021. The fields that came since (`isOneOf`, and
//! `isDeprecated` and `deprecationReason` of arguments and input fields) are added here under [`ADDED`], since its own
//! types cannot be extended: they are leaves without arguments.

use bluejay_core::{
    AsIter,
    definition::{
        FieldDefinition as _, FieldsDefinition as _, ObjectTypeDefinition as _, OutputType as _, SchemaDefinition as _,
        TypeDefinitionReference, UnionMemberType, UnionTypeDefinition as _,
    },
};
use bluejay_parser::ast::{
    Parse,
    definition::{DefaultContext, DefinitionDocument, FieldDefinition, SchemaDefinition},
};

/// A schema that lives as long as the process.
pub(super) type Schema = SchemaDefinition<'static>;
/// A type of it.
pub(super) type Named<'s> = TypeDefinitionReference<'s, Schema>;
/// A field of such a type.
pub(super) type Field = FieldDefinition<'static, DefaultContext>;

/// The type that holds what introspection has beside what the library knows.
const ADDED: &str = "type __Added { isOneOf: Boolean isDeprecated: Boolean! deprecationReason: String }";
/// Which of it belongs to which type.
const ADDITIONS: [(&str, &str); 3] =
    [("__Type", "isOneOf"), ("__InputValue", "isDeprecated"), ("__InputValue", "deprecationReason")];

/// Parses a schema and keeps it for the life of the process, as its parts refer to each other and to the text.
pub(super) fn parse(sdl: &str) -> Result<&'static Schema, String> {
    let text: &'static str = Box::leak(format!("{sdl}\n{ADDED}").into_boxed_str());
    let document = DefinitionDocument::parse(text).result.map_err(|errors| {
        errors.first().map_or_else(String::new, |error| format!("the schema cannot be parsed: {}", error.message()))
    })?;
    let document: &'static DefinitionDocument<'static> = Box::leak(Box::new(document));
    let schema = Schema::try_from(document).map_err(|errors| format!("the schema has {} mistakes", errors.len()))?;
    Ok(Box::leak(Box::new(schema)))
}

/// The definition of a type's field, those of introspection included.
pub(super) fn field<'s>(schema: &'s Schema, parent: &Named<'s>, name: &str) -> Option<&'s Field> {
    let own = parent.fields_definition().and_then(|fields| fields.get(name));
    own.or_else(|| {
        is_addition(parent.name(), name)
            .then(|| schema.get_type_definition("__Added")?.fields_definition()?.get(name))?
    })
}

/// Whether introspection has this field although the library does not know it.
pub(super) fn is_addition(parent: &str, name: &str) -> bool {
    ADDITIONS.contains(&(parent, name))
}

/// Whether introspection has a field of this name that the library does not know.
pub(super) fn is_addition_of_any(name: &str) -> bool {
    ADDITIONS.iter().any(|(_, added)| *added == name)
}

/// The type at the end of a field's lists and exclamation marks.
pub(super) fn result<'s>(schema: &'s Schema, field: &'s Field) -> Option<Named<'s>> {
    schema.get_type_definition(field.r#type().base_name())
}

/// The names of the objects that a composite type stands for.
pub(super) fn objects<'s>(schema: &'s Schema, named: &Named<'s>) -> Vec<&'s str> {
    match named {
        TypeDefinitionReference::Object(object) => vec![(**object).name()],
        TypeDefinitionReference::Interface(interface) => {
            schema.get_interface_implementors(interface).map(object_name).collect()
        }
        TypeDefinitionReference::Union(union) => union.union_member_types().iter().map(UnionMemberType::name).collect(),
        TypeDefinitionReference::BuiltinScalar(_)
        | TypeDefinitionReference::CustomScalar(_)
        | TypeDefinitionReference::InputObject(_)
        | TypeDefinitionReference::Enum(_) => Vec::new(),
    }
}

/// Whether whatever is of type `inner` is of type `outer` too.
pub(super) fn covers<'s>(schema: &'s Schema, outer: &Named<'s>, inner: &Named<'s>) -> bool {
    if outer.name() == inner.name() {
        return true;
    }
    let all = objects(schema, outer);
    let some = objects(schema, inner);
    !some.is_empty() && some.iter().all(|name| all.contains(name))
}

/// The items of a list that may be absent, as arguments and directives are.
pub(super) fn each<T: AsIter>(list: Option<&T>) -> impl Iterator<Item = &T::Item> {
    list.map(AsIter::iter).into_iter().flatten()
}

/// Whether a type is an object, and so of no other type at the same time but those it implements.
pub(super) fn is_object(named: &Named<'_>) -> bool {
    matches!(named, TypeDefinitionReference::Object(_))
}

fn object_name(object: &<Schema as bluejay_core::definition::SchemaDefinition>::ObjectTypeDefinition) -> &str {
    bluejay_core::definition::ObjectTypeDefinition::name(object)
}

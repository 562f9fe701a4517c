//! The rules of validation (spec, section 5), as bluejay-validator holds them.
//!
//! Owns the list of rules and their run over one document. Three of the library's rules are left out and done elsewhere:
//! the merging of fields ([`super::overlap`]: the library's never compares a field of a union with one of a member, and
//! its time doubles with each nested fragment), the roots of subscriptions ([`super::roots`]: the library counts fields
//! no deeper than one fragment, and lets conditions and introspection pass), and cycles of fragments
//! ([`super::guard`]). Called by [`super::Language::read`] once for each text, after the guard.

use async_graphql::ServerError;
use bluejay_parser::ast::executable::ExecutableDocument;
use bluejay_validator::executable::{
    Cache,
    document::{
        Error, Orchestrator,
        rules::{
            AllVariableUsagesAllowed, AllVariableUsesDefined, AllVariablesUsed, ArgumentNames, ArgumentUniqueness,
            DirectivesAreDefined, DirectivesAreInValidLocations, DirectivesAreUniquePerLocation, FieldSelections,
            FragmentNameUniqueness, FragmentSpreadIsPossible, FragmentSpreadTargetDefined, FragmentSpreadTypeExists,
            FragmentsMustBeUsed, FragmentsOnCompositeTypes, LeafFieldSelections, LoneAnonymousOperation,
            NamedOperationNameUniqueness, OperationTypeIsDefined, RequiredArguments, ValueIsValid, VariableUniqueness,
            VariablesAreInputTypes,
        },
    },
};

use super::{source::Source, types::Schema, words::Words};

/// A document as the parser gives it.
pub(super) type Ast<'a> = ExecutableDocument<'a>;
/// A mistake as the library tells it.
pub(super) type Mistake<'a> = Error<'a, Ast<'a>, Schema>;

type Rules<'a> = (
    (
        NamedOperationNameUniqueness<'a, Ast<'a>>,
        LoneAnonymousOperation<'a, Ast<'a>>,
        OperationTypeIsDefined<'a, Ast<'a>, Schema>,
        FragmentNameUniqueness<'a, Ast<'a>>,
        FragmentSpreadTypeExists<'a, Ast<'a>, Schema>,
        FragmentsOnCompositeTypes<'a, Ast<'a>, Schema>,
        FragmentsMustBeUsed<'a, Ast<'a>>,
        FragmentSpreadTargetDefined<'a, Ast<'a>, Schema>,
        FragmentSpreadIsPossible<'a, Ast<'a>, Schema>,
    ),
    (
        FieldSelections<'a, Ast<'a>, Schema>,
        LeafFieldSelections<'a, Ast<'a>, Schema>,
        ArgumentNames<'a, Ast<'a>, Schema>,
        ArgumentUniqueness<'a, Ast<'a>, Schema>,
        RequiredArguments<'a, Ast<'a>, Schema>,
        ValueIsValid<'a, Ast<'a>, Schema>,
        DirectivesAreDefined<'a, Ast<'a>, Schema>,
        DirectivesAreInValidLocations<'a, Ast<'a>, Schema>,
        DirectivesAreUniquePerLocation<'a, Ast<'a>, Schema>,
    ),
    (
        VariableUniqueness<'a, Ast<'a>, Schema>,
        VariablesAreInputTypes<'a, Ast<'a>, Schema>,
        AllVariableUsesDefined<'a, Ast<'a>, Schema>,
        AllVariablesUsed<'a, Ast<'a>, Schema>,
        AllVariableUsagesAllowed<'a, Ast<'a>, Schema>,
    ),
);

/// The first mistakes of a document, at most `most`, in the order of its text.
pub(super) fn mistakes(
    source: &Source<'_>,
    document: &Ast<'_>,
    schema: &'static Schema,
    most: usize,
) -> Vec<ServerError> {
    let cache = Cache::new(document, schema);
    let found = Orchestrator::<_, _, Rules<'_>>::validate(document, schema, &cache);
    let words = Words::new(source, document, schema);
    let mut errors: Vec<ServerError> = found.filter_map(|mistake| words.tell(mistake)).take(most * 4).collect();
    errors.sort_by_key(|error| error.locations.first().copied());
    errors.dedup_by(|one, other| one.message == other.message && one.locations == other.locations);
    errors.truncate(most);
    errors
}

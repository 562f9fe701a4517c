//! From the text of a request to an operation that is safe to run.
//!
//! Owns [`Documents::prepare`], the one door of every transport to the schema: nothing reaches async-graphql that did
//! not pass it. What comes out is parsed once, within the [`Limits`], has a known cost, and names the operation it
//! runs. What does not pass is refused with coded errors in the order one mends them: text, operation, limits,
//! variables, roots. Applications send the same few texts again and again: [`Documents`] remembers how they parse, and
//! nothing else.
//!
//! Own code, where async-graphql's rules are missing or wrong at the root: a subscription may select several root
//! fields or none, gets no events for a field in a fragment and completes at once; a mutation that selects a root
//! field twice runs it twice instead of merging the two (spec 6.3.2), which is once too often for a payment.

use std::{collections::HashSet, sync::Arc};

use async_graphql::{
    Name, Pos, Positioned, Request, ServerError, Variables,
    parser::{
        self,
        types::{
            DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
        },
    },
};

use moka::sync::Cache;

use super::{
    errors::ErrorCode,
    limits::{Limits, exceeded, failure, measure},
    scan::scan,
    variables,
};

/// The name of the subscription root in this schema.
const SUBSCRIPTION: &str = "Subscription";
/// The texts that [`Documents`] keeps, in bytes together. Parsed they take some twenty times as much.
const KEPT: u64 = 1024 * 1024;
/// The longest of them, in bytes; a longer one is as good as never sent twice.
const LONGEST_KEPT: usize = 16 * 1024;

/// An operation that may run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The parsed document; of a subscription, the root field stands alone and outside fragments.
    pub document: ExecutableDocument,
    /// What kind of operation was chosen.
    pub operation: OperationType,
    /// Its name, if it has one.
    pub operation_name: Option<String>,
    /// Its cost in points, at least 1; the rule is in [`super::limits`].
    pub cost: u32,
    /// Its fields and fragments, repeated ones counted each time.
    pub fields: u32,
    /// Its levels of fields.
    pub depth: u32,
    /// The names of its root fields (not their aliases) in order, each once.
    pub root_fields: Vec<String>,
}

impl Prepared {
    /// The request for `execute` or `execute_stream`. `query` is only shown to extensions: it is not parsed again.
    pub fn into_request(self, query: impl Into<String>, variables: Variables) -> Request {
        let mut request = Request::new(query).variables(variables);
        request.operation_name = self.operation_name;
        request.set_parsed_query(self.document);
        request
    }
}

/// The texts that were parsed last, and what came of them. Clones share them.
#[derive(Clone, Debug)]
pub struct Documents(Cache<Arc<str>, Arc<ExecutableDocument>>);

impl Default for Documents {
    fn default() -> Self {
        let weigh = |text: &Arc<str>, _: &Arc<ExecutableDocument>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self(Cache::builder().weigher(weigh).max_capacity(KEPT).build())
    }
}

impl Documents {
    /// Parses `query`, chooses its operation and checks all that can be known before validation.
    ///
    /// `single_mutations` are mutations of which one request may hold one (sign-in, money): a hundred aliases of
    /// `signIn` would be a hundred guesses for the price of one request. The limits must be the same each time: what
    /// was parsed once within `limits.tokens` is not counted again.
    ///
    /// # Errors
    ///
    /// Coded errors of the whole request, without paths: `GRAPHQL_PARSE_FAILED`, `GRAPHQL_VALIDATION_FAILED`,
    /// `OPERATION_TOO_COMPLEX`, `OPERATION_TOO_DEEP` or `BAD_USER_INPUT`.
    pub fn prepare(
        &self,
        query: &str,
        operation_name: Option<&str>,
        variables: &Variables,
        limits: &Limits,
        single_mutations: &[&str],
    ) -> Result<Prepared, Vec<ServerError>> {
        let document = if let Some(document) = self.0.get(query) {
            document
        } else {
            scan(query, limits.tokens)?;
            let document = Arc::new(parser::parse_query(query).map_err(|error| unparsable(&error))?);
            if query.len() <= LONGEST_KEPT {
                self.0.insert(query.into(), Arc::clone(&document));
            }
            document
        };
        examine(Arc::unwrap_or_clone(document), operation_name, variables, limits, single_mutations)
    }
}

/// [`Documents::prepare`] for a text that comes once.
#[cfg(test)]
pub(crate) fn prepare(
    query: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
    single_mutations: &[&str],
) -> Result<Prepared, Vec<ServerError>> {
    Documents::default().prepare(query, operation_name, variables, limits, single_mutations)
}

/// Whether a parsed document may run with these variables, and at what cost.
fn examine(
    mut document: ExecutableDocument,
    operation_name: Option<&str>,
    variables: &Variables,
    limits: &Limits,
    single_mutations: &[&str],
) -> Result<Prepared, Vec<ServerError>> {
    let (name, operation) = choose(&document, operation_name)?;
    let name = name.cloned();
    let measured = measure(&document, operation, variables, limits)?;
    if let Some(error) = variables::long_list(&document, variables, limits.list_items) {
        return Err(vec![error]);
    }
    let mistaken = variables::mistaken(&operation.node, variables);
    if !mistaken.is_empty() {
        return Err(mistaken);
    }

    let mut roots = Vec::new();
    collect(&document, &operation.node.selection_set.node, &mut roots);
    let mut root_fields: Vec<String> = Vec::new();
    for root in &roots {
        if !root_fields.iter().any(|known| known == root.node.name.node.as_str()) {
            root_fields.push(root.node.name.node.to_string());
        }
    }
    let kind = operation.node.ty;
    match kind {
        OperationType::Query => {}
        OperationType::Mutation => check_mutation(&roots, single_mutations)?,
        OperationType::Subscription => {
            let root = single_root(&document, operation, &roots)?;
            replace_root(&mut document, name.as_ref(), root);
        }
    }
    Ok(Prepared {
        document,
        operation: kind,
        operation_name: name.map(|name| name.to_string()),
        cost: measured.cost,
        fields: measured.fields,
        depth: measured.depth,
        root_fields,
    })
}

/// The parser's error in words for people: its own message draws the text and names grammar rules.
fn unparsable(error: &parser::Error) -> ServerError {
    let at = error.positions().next();
    match error {
        parser::Error::Syntax { message, start, .. } => {
            let expected = message.rsplit("= ").next().unwrap_or_default().trim();
            let expected = expected.replace("EOI", "the end of the document").replace('_', " ");
            let short: String = expected.chars().take(200).collect();
            let (line, column) = (start.line, start.column);
            let message = format!("Syntax error at line {line}, column {column}: {short}.");
            failure(ErrorCode::GraphqlParseFailed, message, at)
        }
        parser::Error::RecursionLimitExceeded => {
            let message = "The document nests too deep. Nest fewer fields and fragments.";
            failure(ErrorCode::OperationTooDeep, message, at)
        }
        // Well-formed, but not valid: operations or fragments of one name, or no operation.
        other => failure(ErrorCode::GraphqlValidationFailed, format!("{other}."), at),
    }
}

/// The operation that `name` chooses (spec 6.1, `GetOperation`). An empty name is none: some clients send it.
fn choose<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<(Option<&'a Name>, &'a Positioned<OperationDefinition>), ServerError> {
    let name = name.filter(|name| !name.is_empty());
    let wrong = |message: String| Err(failure(ErrorCode::GraphqlValidationFailed, message, None));
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok((None, operation)),
        (DocumentOperations::Single(_), Some(name)) => {
            wrong(format!("Unknown operation named \"{name}\": the document's only operation has no name."))
        }
        (DocumentOperations::Multiple(operations), Some(name)) => match operations.get_key_value(name) {
            Some((name, operation)) => Ok((Some(name), operation)),
            None => wrong(format!("Unknown operation named \"{name}\".")),
        },
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.iter();
            match (all.next(), all.next()) {
                (Some((name, operation)), None) => Ok((Some(name), operation)),
                _ => wrong("Several operations: say in \"operationName\" which one to run.".to_owned()),
            }
        }
    }
}

/// The root fields in order, with those in fragments. The meter has found no cycle and not too many of them.
fn collect<'a>(document: &'a ExecutableDocument, set: &'a SelectionSet, roots: &mut Vec<&'a Positioned<Field>>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => roots.push(field),
            Selection::InlineFragment(inline) => collect(document, &inline.node.selection_set.node, roots),
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    collect(document, &fragment.node.selection_set.node, roots);
                }
            }
        }
    }
}

fn check_mutation(roots: &[&Positioned<Field>], single: &[&str]) -> Result<(), Vec<ServerError>> {
    let mut keys = HashSet::new();
    if let Some(root) = roots.iter().find(|root| !keys.insert(&root.node.response_key().node)) {
        let key = root.node.response_key();
        let message = format!("\"{key}\" is selected twice. Select it once, or give each its own alias.");
        return Err(vec![failure(ErrorCode::GraphqlValidationFailed, message, Some(root.pos))]);
    }
    let guarded: Vec<_> = roots.iter().filter(|root| single.contains(&root.node.name.node.as_str())).collect();
    if let [_, second, ..] = guarded[..] {
        let names: Vec<_> = guarded.iter().map(|root| root.node.name.node.as_str()).collect();
        let what = format!("mutations that must come alone ({})", names.join(", "));
        let fix = "Send each in a request of its own.";
        let mut error = exceeded(ErrorCode::OperationTooComplex, &what, 1, guarded.len() as u64, fix);
        error.locations = vec![second.pos];
        return Err(vec![error]);
    }
    Ok(())
}

/// The one root field of a subscription (spec 5.2.3.1), or what is wrong with them.
fn single_root(
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
    roots: &[&Positioned<Field>],
) -> Result<Positioned<Field>, ServerError> {
    check_subscription_level(document, &operation.node.selection_set.node)?;
    let invalid = |message: String, at: Pos| Err(failure(ErrorCode::GraphqlValidationFailed, message, Some(at)));
    let [first, others @ ..] = roots else {
        return invalid("A subscription must select one root field.".to_owned(), operation.pos);
    };
    let mut root = (*first).clone();
    for other in others {
        if other.node.response_key().node != root.node.response_key().node {
            return invalid("A subscription must select only one root field.".to_owned(), other.pos);
        }
        // Their arguments may name the same in another order.
        let same_arguments =
            other.node.arguments.len() == root.node.arguments.len()
                && other.node.arguments.iter().all(|(name, value)| {
                    root.node.get_argument(&name.node).is_some_and(|known| known.node == value.node)
                });
        if other.node.name.node != root.node.name.node || !same_arguments {
            let message =
                format!("Fields \"{}\" conflict: they differ in name or arguments.", other.node.response_key());
            return invalid(message, other.pos);
        }
        root.node.selection_set.node.items.extend(other.node.selection_set.node.items.iter().cloned());
    }
    if root.node.name.node.starts_with("__") {
        return invalid(format!("A subscription must not select \"{}\" at its root.", root.node.name), root.pos);
    }
    Ok(root)
}

/// What inlining the root's fragments would hide from validation: conditions, and fragments of another type.
fn check_subscription_level(document: &ExecutableDocument, set: &SelectionSet) -> Result<(), ServerError> {
    let invalid = |message: String, at: Pos| Err(failure(ErrorCode::GraphqlValidationFailed, message, Some(at)));
    for selection in &set.items {
        let conditional = |name: &str| matches!(name, "skip" | "include");
        if selection.node.directives().iter().any(|directive| conditional(&directive.node.name.node)) {
            return invalid("A subscription must not use @skip or @include at its root.".to_owned(), selection.pos);
        }
        let (condition, inner) = match &selection.node {
            Selection::Field(_) => continue,
            Selection::InlineFragment(inline) => (inline.node.type_condition.as_ref(), &inline.node.selection_set.node),
            Selection::FragmentSpread(spread) => match document.fragments.get(&spread.node.fragment_name.node) {
                Some(fragment) => (Some(&fragment.node.type_condition), &fragment.node.selection_set.node),
                None => {
                    return invalid(format!("Unknown fragment \"{}\".", spread.node.fragment_name), selection.pos);
                }
            },
        };
        if let Some(condition) = condition.filter(|condition| condition.node.on.node != SUBSCRIPTION) {
            let on = &condition.node.on.node;
            return invalid(format!("A fragment on \"{on}\" cannot be spread in \"{SUBSCRIPTION}\"."), selection.pos);
        }
        check_subscription_level(document, inner)?;
    }
    Ok(())
}

/// Puts `root` in place of all that the operation selected, and drops the fragments that nothing spreads any more.
fn replace_root(document: &mut ExecutableDocument, name: Option<&Name>, root: Positioned<Field>) {
    let operation = match (&mut document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get_mut(name),
        (DocumentOperations::Multiple(_), None) => None,
    };
    let at = root.pos;
    if let Some(operation) = operation {
        operation.node.selection_set.node.items = vec![Positioned::new(Selection::Field(root), at)];
    }
    let mut used: Vec<Name> = Vec::new();
    for (_, operation) in document.operations.iter() {
        spreads(document, &operation.node.selection_set.node, &mut used);
    }
    document.fragments.retain(|name, _| used.contains(name));
}

fn spreads(document: &ExecutableDocument, set: &SelectionSet, used: &mut Vec<Name>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => spreads(document, &field.node.selection_set.node, used),
            Selection::InlineFragment(inline) => spreads(document, &inline.node.selection_set.node, used),
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if !used.contains(name) {
                    used.push(name.clone());
                    if let Some(fragment) = document.fragments.get(name) {
                        spreads(document, &fragment.node.selection_set.node, used);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

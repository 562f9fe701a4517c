//! The documents that are kept, and operations that are ready to run.
//!
//! Owns [`Documents::prepare`]. Applications send the same few texts again and again: what [`Language`] makes of a text
//! is kept, weighed by the bytes that it takes in memory, and dropped when others are asked for more often. Texts that
//! are refused are not kept.
//!
//! Invariant: what depends on a request (its variables, the operation it names) is never kept.

use std::sync::Arc;

use async_graphql::{
    Request, ServerError, Variables,
    parser::types::{DocumentOperations, OperationType, Selection, SelectionSet},
};
use moka::sync::Cache;

use super::{
    Language,
    operation::{Operation, bytes_of, long_list},
    price::Efforts,
    roots,
    sent::SentVariables,
    shape,
    spelling::plain,
};
use crate::graphql::{
    errors::ErrorCode,
    limits::{Limits, failure},
};

/// What all kept documents take, in bytes.
const KEPT: u64 = 16 * 1024 * 1024;
/// The largest of them. A text of 16 KiB takes about as much.
const LARGEST_KEPT: usize = 1024 * 1024;

/// An operation that may run.
#[derive(Clone, Debug)]
pub struct Prepared {
    kept: Arc<Operation>,
    /// Its selections, where conditions depend on variables.
    resolved: Option<Arc<SelectionSet>>,
    /// The variables that it declares, coerced; those without a value are not there.
    pub variables: Variables,
    /// What kind of operation was chosen.
    pub operation: OperationType,
    /// Its name, if it has one.
    pub operation_name: Option<String>,
    /// Its cost in points, at least 1; the rule is in [`crate::graphql::limits`].
    pub cost: u32,
    /// What of that is done whatever the answer holds.
    pub efforts: Efforts,
    /// Its fields and fragments, repeated ones counted each time.
    pub fields: u32,
    /// Its levels of fields.
    pub depth: u32,
    /// The names of its root fields (not their aliases) in order, each once.
    pub root_fields: Arc<[String]>,
    /// What its document is called in the log ([`shape::hash`]).
    pub document_hash: Arc<str>,
}

impl Prepared {
    /// The request for `execute` or `execute_stream`. It holds the document, not the text.
    pub fn request(&self) -> Request {
        let document = self.kept.executable(self.resolved.as_deref(), &self.variables);
        let mut request = Request::new(String::new()).variables(self.variables.clone());
        request.set_parsed_query(document);
        request
    }

    /// What a subscription keeps of it, to be executed for its events. Without the arguments of its root field, which say
    /// which events are meant and nothing else: so an answer cannot depend on them, and of the variables only those are kept
    /// that stand below it, as compact text.
    pub fn for_events(&self) -> ForEvents {
        let named = self.kept.variables_below_roots(self.resolved.as_deref());
        let variables = SentVariables::of(&self.variables, |name| named.contains(name));
        ForEvents { kept: Arc::clone(&self.kept), resolved: self.resolved.clone(), variables }
    }

    /// An argument of the first root field, as the document has it.
    #[cfg(test)]
    pub(super) fn root_argument(&self, name: &str) -> Option<&async_graphql::Positioned<async_graphql_value::Value>> {
        match &self.selections().items.first()?.node {
            Selection::Field(field) => field.node.get_argument(name),
            Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
        }
    }

    /// What is executed: fields of one name merged, fragments in place of their spreads, and no directives.
    pub fn selections(&self) -> &SelectionSet {
        self.kept.selections(self.resolved.as_deref())
    }
}

/// A subscription, as it is kept to be executed for its events.
#[derive(Clone, Debug)]
pub struct ForEvents {
    kept: Arc<Operation>,
    resolved: Option<Arc<SelectionSet>>,
    /// Coerced, those below the root field alone.
    variables: SentVariables,
}

impl ForEvents {
    /// The request for one event.
    pub fn request(&self) -> Request {
        let variables = self.variables.read(|_| true);
        let mut document = self.kept.executable(self.resolved.as_deref(), &variables);
        if let DocumentOperations::Single(operation) = &mut document.operations {
            for selection in &mut operation.node.selection_set.node.items {
                if let Selection::Field(root) = &mut selection.node {
                    root.node.arguments.clear();
                }
            }
        }
        let mut request = Request::new(String::new()).variables(variables);
        request.set_parsed_query(document);
        request
    }

    /// About how many bytes it keeps in memory, if nobody else keeps the same document.
    pub fn bytes(&self) -> usize {
        let resolved = self.resolved.as_ref().map_or(0, |resolved| bytes_of(resolved));
        self.kept.bytes() + resolved + self.variables.bytes()
    }
}

/// The texts that were read last, and what came of them. Clones share them.
#[derive(Clone, Debug)]
pub struct Documents {
    language: Arc<Language>,
    kept: Cache<Arc<str>, Text>,
}

/// What came of a text. Clones share it.
#[derive(Clone, Debug)]
struct Text {
    operations: Arc<[Arc<Operation>]>,
    hash: Arc<str>,
}

impl Documents {
    /// None yet.
    pub fn new(language: Arc<Language>) -> Self {
        let weigh =
            |text: &Arc<str>, read: &Text| u32::try_from(text.len() + weight(&read.operations)).unwrap_or(u32::MAX);
        Self { language, kept: Cache::builder().weigher(weigh).max_capacity(KEPT).build() }
    }

    /// Reads `query`, chooses its operation, coerces its variables and weighs it.
    ///
    /// `single_mutations` are mutations of which one request may hold one (sign-in, money): a hundred aliases of
    /// `signIn` would be a hundred guesses for the price of one request. The limits must be the same each time: what
    /// was read once within them is not measured again.
    ///
    /// # Errors
    ///
    /// Coded errors of the whole request, without paths: `GRAPHQL_PARSE_FAILED`, `GRAPHQL_VALIDATION_FAILED`,
    /// `OPERATION_TOO_COMPLEX`, `OPERATION_TOO_DEEP` or `BAD_USER_INPUT`.
    pub fn prepare(
        &self,
        query: &str,
        operation_name: Option<&str>,
        variables: &SentVariables,
        limits: &Limits,
        single_mutations: &[&str],
    ) -> Result<Prepared, Vec<ServerError>> {
        let Text { operations, hash } = self.read(query, limits)?;
        let operation = Arc::clone(choose(&operations, operation_name)?);
        if operation.kind == OperationType::Mutation {
            roots::check_single(&operation.roots, single_mutations)?;
        }
        // What it does not declare is never looked at.
        let variables = variables.read(|name| operation.declares(name));
        if let Some(error) = long_list(&variables, limits.list_items) {
            return Err(vec![error]);
        }
        let variables = operation.coerce(&self.language.inputs, variables)?;
        let cost = operation.weigh(&variables, limits)?;
        let resolved = operation.resolve(&variables)?;
        let efforts = operation.efforts(&variables);
        Ok(Prepared {
            resolved,
            efforts,
            variables,
            operation: operation.kind,
            operation_name: operation.name.clone(),
            cost,
            fields: operation.measured.fields,
            depth: operation.measured.depth,
            root_fields: Arc::clone(&operation.root_fields),
            kept: operation,
            document_hash: hash,
        })
    }

    fn read(&self, query: &str, limits: &Limits) -> Result<Text, Vec<ServerError>> {
        if let Some(read) = self.kept.get(query) {
            return Ok(read);
        }
        let operations: Arc<[_]> = self.language.read(&plain(query), limits)?.into_iter().map(Arc::new).collect();
        let read = Text { operations, hash: shape::hash(query).into() };
        if query.len() + weight(&read.operations) <= LARGEST_KEPT {
            self.kept.insert(query.into(), read.clone());
        }
        Ok(read)
    }
}

/// About how many bytes operations take.
fn weight(operations: &[Arc<Operation>]) -> usize {
    operations.iter().map(|operation| operation.bytes()).sum()
}

/// The operation that `name` chooses (spec 6.1, `GetOperation`). An empty name is none: some clients send it.
fn choose<'a>(operations: &'a [Arc<Operation>], name: Option<&str>) -> Result<&'a Arc<Operation>, ServerError> {
    let wrong = |message: String| Err(failure(ErrorCode::GraphqlValidationFailed, message, None));
    match (name.filter(|name| !name.is_empty()), operations) {
        (None, [only]) => Ok(only),
        (None, []) => wrong("There is no operation in this document, only fragments.".to_owned()),
        (None, [_, ..]) => wrong("Several operations: say in \"operationName\" which one to run.".to_owned()),
        (Some(name), operations) => {
            let named = operations.iter().find(|operation| operation.name.as_deref() == Some(name));
            named.map_or_else(
                || match operations {
                    [only] if only.name.is_none() => {
                        wrong(format!("Unknown operation named \"{name}\": the document's only operation has no name."))
                    }
                    _ => wrong(format!("Unknown operation named \"{name}\".")),
                },
                Ok,
            )
        }
    }
}

#[cfg(test)]
impl Documents {
    /// How many bytes are kept now.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept.run_pending_tasks();
        self.kept.weighted_size()
    }
}

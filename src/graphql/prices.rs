//! What each field of the schema does, which decides what it costs.
//!
//! Owns the kinds of work that resolvers do ([`Work`]), the points of each, and the look-up of a field's kind in the tables
//! that the schema's owner hands in (`schema::prices`). Asked by [`super::language`] when it reads a document, once for a
//! text. Knows no domain: the one table of its own is that of connections, which are of this kit.
//!
//! A field that no table names is priced by its shape: a leaf as a value of its row, a field with `first` or `last` as a
//! page, one with `ids` as so many look-ups, a root field of a mutation as a change, any other as a part of its parent.
//! That is for tests of this kit; a test of the schema wants each field that is no plain leaf to stand in a table.

use std::collections::HashMap;

/// Hundredths of a point: 25 plain values cost one point.
pub(super) const POINT: u64 = 100;
/// A plain value of an object that has been read.
pub(super) const LEAF: u64 = 4;
/// A text that may be several KiB long.
pub(super) const TEXT: u64 = POINT;
/// From how many bytes on a text in an answer counts as one.
pub(super) const TEXT_BYTES: usize = 1024;
/// What a root field of a mutation costs beyond its payload: a transaction.
pub(super) const CHANGE: u64 = 10 * POINT;
/// The same where a password is hashed, which costs more CPU than any other change.
pub(super) const PASSWORD: u64 = 20 * POINT;
/// A statement that counts up to 10,000 rows.
pub(super) const COUNT: u64 = 10 * POINT;
/// What completing a text adds to its list: a search of titles, and a look at the vocabulary.
const COMPLETION: u64 = 5 * POINT;
/// What words to search for add to a page and to each count of the same list.
pub(super) const SEARCH: u64 = 10 * POINT;
/// What sorting by relevance adds: each match is looked at and ranked.
pub(super) const RELEVANCE: u64 = 20 * POINT;
/// What a page of the event log adds: it may walk past many events of others.
pub(super) const LOG: u64 = 5 * POINT;
/// What the items of a list without a page size count as.
pub(super) const FEW: u64 = 5;

/// What a field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Gives a value, or a list of values, that was read with its object.
    Leaf,
    /// Gives a text that may be several KiB long, read with its object.
    Text,
    /// Gives an object that was read or computed with its parent.
    Part,
    /// Looks something up by a loader: one statement for all of a kind that a level of the query asks for.
    Lookup,
    /// Gives the rows of a page: all below counts once for each of them.
    Rows,
    /// Reads a page of a list, by `first` or `last`.
    Page,
    /// The same, which searches if `query` is given, by itself or in `filter`, and ranks all matches if `orderBy` says `RELEVANCE`.
    SearchPage,
    /// Completes what is being typed, a list of as many as the arguments say.
    Completion,
    /// Reads a page of the event log.
    LogPage,
    /// Looks up all that `ids` names.
    ByIds,
    /// Gives a list without a page size that is short by its nature.
    Short,
    /// Counts rows by a statement of its own.
    Count,
    /// Changes something: a root field of a mutation.
    Change,
    /// A change that hashes a password.
    Password,
}

impl Work {
    /// What the field itself costs, in hundredths of a point, whatever stands below it.
    pub(super) const fn own(self) -> u64 {
        match self {
            Self::Leaf => LEAF,
            Self::Text => TEXT,
            Self::Count => COUNT,
            Self::Part | Self::Lookup | Self::Rows | Self::Page | Self::SearchPage | Self::ByIds | Self::Short => POINT,
            Self::LogPage => POINT + LOG,
            Self::Completion => POINT + COMPLETION,
            Self::Change => POINT + CHANGE,
            Self::Password => POINT + PASSWORD,
        }
    }

    /// The part of it that was done whatever the answer holds, and is never given back.
    pub(super) const fn effort(self) -> u64 {
        match self {
            Self::Count => COUNT,
            Self::LogPage => LOG,
            Self::Completion => COMPLETION,
            Self::Change => CHANGE,
            Self::Password => PASSWORD,
            Self::Leaf
            | Self::Text
            | Self::Part
            | Self::Lookup
            | Self::Rows
            | Self::Page
            | Self::SearchPage
            | Self::ByIds
            | Self::Short => 0,
        }
    }

    /// Whether it reads a page whose size the arguments give.
    pub(super) const fn is_page(self) -> bool {
        matches!(self, Self::Page | Self::SearchPage | Self::LogPage | Self::Completion)
    }
}

/// The fields of some types. A type's name may begin with `*`, which stands for any beginning.
pub type Table = &'static [(&'static str, &'static [(&'static str, Work)])];

/// Connections and their edges, whatever they hold.
const CONNECTIONS: Table = &[
    (
        "*Connection",
        &[("edges", Work::Rows), ("nodes", Work::Rows), ("pageInfo", Work::Part), ("totalCount", Work::Count)],
    ),
    ("*Edge", &[("node", Work::Part)]),
];

/// What is known of the fields of a schema.
#[derive(Clone, Debug)]
pub struct Prices {
    /// By the names of type and field.
    named: HashMap<(&'static str, &'static str), Work>,
    /// By the end of a type's name, and the field.
    endings: Vec<(&'static str, &'static str, Work)>,
}

impl Prices {
    /// Of all these tables. Where two name a field, the last one counts.
    pub fn new(tables: &[Table]) -> Self {
        let (mut named, mut endings) = (HashMap::new(), Vec::new());
        for (of, fields) in [CONNECTIONS].iter().chain(tables).copied().flatten() {
            for (field, work) in *fields {
                match of.strip_prefix('*') {
                    Some(ending) => endings.push((ending, *field, *work)),
                    None => drop(named.insert((*of, *field), *work)),
                }
            }
        }
        Self { named, endings }
    }

    /// What a table says of a field.
    pub fn listed(&self, of: &str, field: &str) -> Option<Work> {
        let by_ending = || self.endings.iter().rev().find(|(ending, name, _)| *name == field && of.ends_with(ending));
        self.named.get(&(of, field)).copied().or_else(|| by_ending().map(|(_, _, work)| *work))
    }

    /// Whether a type is a connection, whose rows stand in fields of their own.
    pub(super) fn is_connection(&self, of: &str) -> bool {
        self.listed(of, "nodes") == Some(Work::Rows)
    }

    /// The fields that the tables name: a type, or `*` and the end of its name, and the field.
    pub fn all(&self) -> impl Iterator<Item = (String, &'static str)> {
        let named = self.named.keys().map(|(of, field)| ((*of).to_owned(), *field));
        named.chain(self.endings.iter().map(|(ending, field, _)| (format!("*{ending}"), *field)))
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self::new(&[])
    }
}

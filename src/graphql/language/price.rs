//! The cost of an operation, as far as its text tells.
//!
//! Owns the [`Price`] of an operation by the rules in [`crate::graphql::limits`] and the kinds of work in
//! [`crate::graphql::prices`]: it is worked out once for a text, and what depends on variables is put in for each request.
//! Made by [`super::operation`] from the unfolded selections: fields that are merged count each for itself, and so do those
//! that `@skip` and `@include` may take out. Beside it stands what an operation does whatever its answer holds
//! ([`Effort`]), with the place in the answer that shows whether it was done.
//!
//! All sums are in hundredths of a point, and saturate.

use std::sync::Arc;

use async_graphql::{
    Name, Value, Variables,
    parser::types::{Field, OperationType, Selection, SelectionSet},
};
use async_graphql_value::Value as Literal;
use bluejay_core::{
    IntegerValue, Value as _, ValueReference,
    definition::{ArgumentsDefinition as _, FieldDefinition as _, InputValueDefinition as _, SchemaDefinition as _},
};

use super::{
    guard::introspection_factor,
    types::{self, Named, Schema},
};
use crate::graphql::prices::{FEW, POINT, Prices, RELEVANCE, SEARCH, Work};

/// What the page size of a connection counts as when it is not given.
const DEFAULT_PAGE: u64 = 20;

/// The largest page the API gives; asking for more is refused where the argument is read.
const LARGEST_PAGE: u64 = 100;

/// Values of introspection that cost a point.
const VALUES_OF_A_POINT: u64 = 10_000;

/// The price of a selection set: what is always the same, and the parts that depend on variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Price {
    fixed: u64,
    scaled: Vec<Scaled>,
}

/// A field whose price depends on variables, with all below it.
#[derive(Clone, Debug)]
struct Scaled {
    own: u64,
    times: Times,
    search: Option<Search>,
    /// How many counts of the same list stand below it: each searches again.
    counts: u64,
    /// What is below it and counts once.
    once: Price,
    /// What is below it and counts for each row.
    each: Price,
}

/// How often what is below a field counts.
#[derive(Clone, Debug)]
enum Times {
    Fixed(u64),
    /// The larger one, or the usual page.
    Page(Option<Amount>, Option<Amount>),
    /// A list's length; the field itself counts as often.
    Ids(Option<Amount>),
}

/// The arguments that make a page a search: words of its own, or in its filter.
#[derive(Clone, Debug)]
pub(super) struct Search {
    words: Option<Amount>,
    filter: Option<Amount>,
    filter_words: Option<Amount>,
    relevance: Option<Amount>,
}

/// The value of an argument, as a number.
#[derive(Clone, Debug)]
enum Amount {
    Known(Option<u64>),
    /// A variable, and what the argument is without a value for it.
    Variable(Name, Option<u64>),
}

/// Work that is done whatever the answer holds, wherever this path leads to in the answer.
#[derive(Clone, Debug)]
pub(super) struct Effort {
    path: Arc<[Name]>,
    points: u64,
    /// The list that it is a page or a count of.
    search: Option<Search>,
    ranks: bool,
}

/// Work that an operation does whatever its answer holds: paths into the answer, and hundredths of a point for each place
/// that they lead to.
#[derive(Clone, Debug, Default)]
pub struct Efforts(Vec<(Arc<[Name]>, u64)>);

/// What a selection set comes to.
#[derive(Default)]
struct Sum {
    /// What counts once on a page.
    once: Price,
    /// The rows of a connection.
    each: Price,
    counts: u64,
}

/// What prices are looked up in.
#[derive(Clone, Copy)]
pub(super) struct Tariff<'a> {
    pub(super) schema: &'static Schema,
    pub(super) prices: &'a Prices,
}

impl Price {
    /// The price of a root's selection set.
    pub(super) fn of(tariff: Tariff<'_>, root: Named<'static>, kind: OperationType, set: &SelectionSet) -> Self {
        let Sum { mut once, each, .. } = tariff.sum(root, kind == OperationType::Mutation, set);
        once.add(each);
        once
    }

    /// The whole points with these variables.
    pub(super) fn points(&self, variables: &Variables) -> u64 {
        self.hundredths(variables) / POINT
    }

    fn hundredths(&self, variables: &Variables) -> u64 {
        self.scaled.iter().fold(self.fixed, |points, scaled| points.saturating_add(scaled.hundredths(variables)))
    }

    fn add(&mut self, other: Self) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.scaled.extend(other.scaled);
    }

    /// How many parts it has, for the cache.
    pub(super) fn parts(&self) -> usize {
        self.scaled.iter().map(|scaled| 1 + scaled.once.parts() + scaled.each.parts()).sum()
    }
}

impl Scaled {
    fn hundredths(&self, variables: &Variables) -> u64 {
        let (own, times) = match &self.times {
            Times::Fixed(times) => (1, *times),
            Times::Page(first, last) => {
                let size = |amount: &Option<Amount>| amount.as_ref()?.value(variables, page_size);
                (1, [size(first), size(last)].into_iter().flatten().max().unwrap_or(DEFAULT_PAGE))
            }
            Times::Ids(ids) => {
                let length = ids.as_ref().and_then(|ids| ids.value(variables, list_length)).unwrap_or(1);
                (length, length)
            }
        };
        let search = self.search.as_ref().map_or(0, |search| {
            search.words(variables).saturating_mul(1 + self.counts).saturating_add(search.ranking(variables))
        });
        let once = self.own.saturating_mul(own).saturating_add(search).saturating_add(self.once.hundredths(variables));
        once.saturating_add(self.each.hundredths(variables).saturating_mul(times))
    }

    fn is_known(&self) -> bool {
        let known = |amount: &Option<Amount>| !matches!(amount, Some(Amount::Variable(..)));
        let times = match &self.times {
            Times::Fixed(_) => true,
            Times::Page(first, last) => known(first) && known(last),
            Times::Ids(ids) => known(ids),
        };
        let search = self.search.as_ref().is_none_or(|Search { words, filter, filter_words, relevance }| {
            [words, filter, filter_words, relevance].into_iter().all(known)
        });
        times && search && self.once.scaled.is_empty() && self.each.scaled.is_empty()
    }
}

impl Search {
    /// What looking for the words costs, once.
    fn words(&self, variables: &Variables) -> u64 {
        let holds = is_set(self.words.as_ref(), variables, holds_words)
            || is_set(self.filter_words.as_ref(), variables, holds_words)
            || is_set(self.filter.as_ref(), variables, filters_by_words);
        if holds { SEARCH } else { 0 }
    }

    /// What ranking costs. Without words there is nothing to rank: that is refused.
    fn ranking(&self, variables: &Variables) -> u64 {
        let ranks = is_set(self.relevance.as_ref(), variables, names_relevance);
        if ranks && self.words(variables) > 0 { RELEVANCE } else { 0 }
    }
}

impl Amount {
    /// What is written for an argument; `otherwise` where a variable has no value.
    fn of(literal: &Literal, otherwise: Option<u64>, read: fn(&Value) -> Option<u64>) -> Self {
        match literal {
            Literal::Variable(variable) => Self::Variable(variable.clone(), otherwise),
            literal => Self::Known(measure(literal, read)),
        }
    }

    fn value(&self, variables: &Variables, read: fn(&Value) -> Option<u64>) -> Option<u64> {
        match self {
            Self::Known(value) => *value,
            Self::Variable(name, otherwise) => variables.get(name).map_or(*otherwise, read),
        }
    }
}

fn is_set(amount: Option<&Amount>, variables: &Variables, read: fn(&Value) -> Option<u64>) -> bool {
    amount.and_then(|amount| amount.value(variables, read)).is_some_and(|value| value > 0)
}

impl Efforts {
    /// What was done for this answer, in hundredths of a point.
    pub fn done(&self, data: &Value) -> u64 {
        self.0.iter().fold(0, |sum, (path, points)| sum.saturating_add(points.saturating_mul(places(data, path))))
    }

    /// Those of a document, with the variables of a request.
    pub(super) fn of(efforts: &[Effort], variables: &Variables) -> Self {
        let with = |effort: &Effort| {
            let search = effort.search.as_ref().map_or(0, |search| {
                let ranking = if effort.ranks { search.ranking(variables) } else { 0 };
                search.words(variables).saturating_add(ranking)
            });
            let points = effort.points.saturating_add(search);
            (points > 0).then(|| (Arc::clone(&effort.path), points))
        };
        Self(efforts.iter().filter_map(with).collect())
    }
}

/// How many places of an answer a path leads to, those that are null included.
fn places(value: &Value, path: &[Name]) -> u64 {
    match (value, path) {
        (Value::List(items), _) if !path.is_empty() => items.iter().map(|item| places(item, path)).sum(),
        (_, []) => 1,
        (Value::Object(fields), [key, rest @ ..]) => fields.get(key).map_or(0, |value| places(value, rest)),
        (_, [_, ..]) => 0,
    }
}

impl Tariff<'_> {
    fn work(self, parent: Named<'static>, is_mutation: bool, field: &Field) -> Work {
        let name = field.name.node.as_str();
        if let Some(work) = self.prices.listed(parent.name(), name) {
            return work;
        }
        let definition = types::field(self.schema, &parent, name);
        let takes = |argument: &str| {
            definition.is_some_and(|field| field.arguments_definition().is_some_and(|all| all.get(argument).is_some()))
        };
        if is_mutation && name != "__typename" {
            Work::Change
        } else if field.selection_set.node.items.is_empty() {
            Work::Leaf
        } else if takes("ids") {
            Work::ByIds
        } else if takes("first") || takes("last") {
            Work::Page
        } else {
            Work::Part
        }
    }

    fn result(self, parent: Named<'static>, field: &Field) -> Named<'static> {
        let definition = types::field(self.schema, &parent, field.name.node.as_str());
        definition.and_then(|definition| types::result(self.schema, definition)).unwrap_or(parent)
    }

    fn condition(
        self,
        parent: Named<'static>,
        inline: &async_graphql::parser::types::InlineFragment,
    ) -> Named<'static> {
        let on = inline.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
        on.and_then(|on| self.schema.get_type_definition(on)).unwrap_or(parent)
    }

    fn sum(self, parent: Named<'static>, is_mutation: bool, set: &SelectionSet) -> Sum {
        let mut all = Sum::default();
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let work = self.work(parent, is_mutation, &field.node);
                    let price = self.of_field(parent, work, &field.node);
                    if work == Work::Rows {
                        all.each.add(price);
                    } else {
                        all.once.add(price);
                    }
                    all.counts += u64::from(work == Work::Count);
                }
                Selection::InlineFragment(inline) => {
                    let inner = self.condition(parent, &inline.node);
                    let Sum { once, each, counts } = self.sum(inner, is_mutation, &inline.node.selection_set.node);
                    all.once.add(once);
                    all.each.add(each);
                    all.counts += counts;
                }
                // Unfolded.
                Selection::FragmentSpread(_) => {}
            }
        }
        all
    }

    fn of_field(self, parent: Named<'static>, work: Work, field: &Field) -> Price {
        let name = field.name.node.as_str();
        if matches!(name, "__schema" | "__type") {
            let values = values(&field.selection_set.node).saturating_mul(introspection_factor(name)).saturating_add(1);
            return Price { fixed: POINT * (1 + values / VALUES_OF_A_POINT), scaled: Vec::new() };
        }
        if field.selection_set.node.items.is_empty() {
            return Price { fixed: work.own(), scaled: Vec::new() };
        }
        let result = self.result(parent, field);
        let Sum { mut once, mut each, counts } = self.sum(result, false, &field.selection_set.node);
        if !(work.is_page() && self.prices.is_connection(result.name())) {
            // A plain list, or no list: there is nothing beside the rows.
            once.add(std::mem::take(&mut each));
            std::mem::swap(&mut once, &mut each);
        }
        let amount = |name: &str, read: fn(&Value) -> Option<u64>| self.amount(parent, field, name, read);
        let times = match work {
            Work::Page | Work::SearchPage | Work::LogPage | Work::Completion => {
                Times::Page(amount("first", page_size), amount("last", page_size))
            }
            Work::ByIds => Times::Ids(amount("ids", list_length)),
            Work::Short => Times::Fixed(FEW),
            Work::Leaf
            | Work::Text
            | Work::Part
            | Work::Lookup
            | Work::Rows
            | Work::Count
            | Work::Change
            | Work::Password => Times::Fixed(1),
        };
        let scaled = Scaled { own: work.own(), times, search: self.search(parent, work, field), counts, once, each };
        if scaled.is_known() {
            return Price { fixed: scaled.hundredths(&Variables::default()), scaled: Vec::new() };
        }
        Price { fixed: 0, scaled: vec![scaled] }
    }

    fn search(self, parent: Named<'static>, work: Work, field: &Field) -> Option<Search> {
        let amount = |name: &str, read: fn(&Value) -> Option<u64>| self.amount(parent, field, name, read);
        if work != Work::SearchPage {
            return None;
        }
        // A filter that is written out may have variables for its other conditions.
        let (filter, filter_words) = match field.get_argument("filter").map(|value| &value.node) {
            Some(Literal::Object(filter)) => {
                (None, filter.get("query").map(|words| Amount::of(words, None, holds_words)))
            }
            Some(filter) => (Some(Amount::of(filter, None, filters_by_words)), None),
            None => (None, None),
        };
        let (words, relevance) = (amount("query", holds_words), amount("orderBy", names_relevance));
        Some(Search { words, filter, filter_words, relevance })
    }

    fn amount(
        self,
        parent: Named<'static>,
        field: &Field,
        name: &str,
        read: fn(&Value) -> Option<u64>,
    ) -> Option<Amount> {
        let definition = types::field(self.schema, &parent, field.name.node.as_str());
        let declared = definition.and_then(|field| field.arguments_definition()?.get(name));
        let default = declared.and_then(|argument| argument.default_value()).and_then(|value| match value.as_ref() {
            ValueReference::Integer(number) => IntegerValue::as_u64(number),
            _ => None,
        });
        match field.get_argument(name).map(|value| &value.node) {
            None => default.map(|default| Amount::Known(Some(default))),
            Some(literal) => Some(Amount::of(literal, default, read)),
        }
    }

    /// What an operation does whatever its answer holds. Fields that are merged are executed once.
    pub(super) fn efforts(self, root: Named<'static>, kind: OperationType, set: &SelectionSet) -> Vec<Effort> {
        let mut efforts = Vec::new();
        self.collect((root, kind == OperationType::Mutation), None, set, &mut Vec::new(), &mut efforts);
        efforts
    }

    fn collect(
        self,
        (parent, is_mutation): (Named<'static>, bool),
        within: Option<&Search>,
        set: &SelectionSet,
        path: &mut Vec<Name>,
        efforts: &mut Vec<Effort>,
    ) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let work = self.work(parent, is_mutation, field);
                    path.push(field.response_key().node.clone());
                    let (search, ranks) = match work {
                        Work::SearchPage => (self.search(parent, work, field), true),
                        Work::Count => (within.cloned(), false),
                        _ => (None, false),
                    };
                    if (work.effort() > 0 || search.is_some()) && !efforts.iter().any(|known| *known.path == **path) {
                        let (path, search) = (path.as_slice().into(), search.clone());
                        efforts.push(Effort { path, points: work.effort(), search, ranks });
                    }
                    let below = (self.result(parent, field), false);
                    self.collect(below, search.as_ref(), &field.selection_set.node, path, efforts);
                    path.pop();
                }
                Selection::InlineFragment(inline) => {
                    let inner = (self.condition(parent, &inline.node), is_mutation);
                    self.collect(inner, within, &inline.node.selection_set.node, path, efforts);
                }
                // Unfolded.
                Selection::FragmentSpread(_) => {}
            }
        }
    }
}

/// Reads a literal, in which variables may stand for items.
fn measure(literal: &Literal, read: fn(&Value) -> Option<u64>) -> Option<u64> {
    match literal {
        Literal::List(items) => read(&Value::List(vec![Value::Null; items.len()])),
        // What a variable inside may say is taken for the most.
        literal => literal.clone().into_const().map_or(Some(1), |value| read(&value)),
    }
}

fn page_size(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    // Zero and less are refused by the resolver, as is more than the largest page.
    Some(number.as_u64().unwrap_or_default().clamp(1, LARGEST_PAGE))
}

/// A single value stands for a list of one.
fn list_length(value: &Value) -> Option<u64> {
    let Value::List(items) = value else { return None };
    Some((items.len() as u64).max(1))
}

fn holds_words(value: &Value) -> Option<u64> {
    let Value::String(text) = value else { return None };
    Some(u64::from(text.contains(char::is_alphanumeric)))
}

fn filters_by_words(value: &Value) -> Option<u64> {
    let Value::Object(filter) = value else { return None };
    holds_words(filter.get("query")?)
}

fn names_relevance(value: &Value) -> Option<u64> {
    let Value::Object(order) = value else { return None };
    let is_named = match order.get("field")? {
        Value::Enum(name) => name == "RELEVANCE",
        Value::String(name) => name == "RELEVANCE",
        _ => false,
    };
    Some(u64::from(is_named))
}

/// About how many values an introspection returns.
fn values(set: &SelectionSet) -> u64 {
    set.items.iter().fold(0, |sum: u64, selection| {
        sum.saturating_add(match &selection.node {
            Selection::Field(field) => {
                let below = values(&field.node.selection_set.node);
                below.saturating_mul(introspection_factor(&field.node.name.node)).saturating_add(1)
            }
            Selection::InlineFragment(inline) => values(&inline.node.selection_set.node),
            Selection::FragmentSpread(_) => 0,
        })
    })
}

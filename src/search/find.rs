//! Looks into the index: which documents answer, in which order, how many they are, and what they have in common.
//!
//! All that is asked beside the words is looked up in columns while the words are walked. A list by posting stops where it
//! has what was asked for; one by relevance skips what cannot be among the best. Scores do not depend on what else is in
//! the index, but for how rare a word is in steps of eight, so that a page goes on where the one before has ended.
//!
//! Invariant: every look ends soon after its [`Stop`] says so. Called by [`Search`](super::Search) on blocking threads.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tantivy::{
    DocId, DocSet as _, Score, Searcher, SegmentReader, TERMINATED, TantivyError, Term,
    columnar::{BytesColumn, Column},
    query::{
        AllQuery, Bm25StatisticsProvider, BooleanQuery, ConstScoreQuery, EnableScoring, Occur, Query as IndexQuery,
        Scorer, TermQuery, TermSetQuery, Weight,
    },
    schema::{Field, IndexRecordOption},
};
use uuid::Uuid;

use super::{index::Opened, query::Query, terms};

/// Documents between two looks at whether somebody still waits.
const LOOK: u32 = 4_096;
/// As how many documents an index counts when words are weighed, and how many tokens a title and a text have on average.
const WEIGHED: u64 = 1 << 20;
const TITLE_TOKENS: u64 = 6;
const TEXT_TOKENS: u64 = 80;

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortedBy {
    /// When it was posted.
    Posted,
    /// What it pays.
    Budget,
    /// Until when.
    Deadline,
    /// How well it answers.
    Relevance,
}

/// What is asked beside the words. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// In one of these.
    pub statuses: Vec<u64>,
    /// With at least one of these.
    pub any_skill: Vec<Uuid>,
    /// With one of each of these.
    pub all_skills: Vec<Vec<Uuid>>,
    /// Of this owner.
    pub owner: Option<Uuid>,
    /// Paying at least and at most this, in minor units.
    pub budget: (Option<i64>, Option<i64>),
    /// Posted later than this, in milliseconds since 1970.
    pub posted_after: Option<i64>,
    /// Whether the words must stand in the title.
    pub titles_only: bool,
}

/// Where a document stands in a list: by this key, and then by its name.
pub type Place = (i64, Uuid);

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its order.
    pub by: SortedBy,
    /// Whether the list begins with the least.
    pub ascending: bool,
    /// Whether the part is read from the list's end.
    pub backward: bool,
    /// Only what comes after this place.
    pub after: Option<Place>,
    /// Only what comes before this one.
    pub before: Option<Place>,
    /// How many, at most.
    pub most: usize,
}

/// How often something is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// By skill.
    pub skills: HashMap<Uuid, u64>,
    /// In as many steps as were asked about, the first below the first bound.
    pub budgets: Vec<u64>,
}

/// Says that nobody waits any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(pub Arc<AtomicBool>);

impl Stop {
    fn check(&self) -> tantivy::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(TantivyError::InternalError("nobody waits for it any more".to_owned()));
        }
        Ok(())
    }
}

/// A state of the index.
pub(super) struct Look {
    pub searcher: Searcher,
    pub opened: Opened,
    pub stop: Stop,
}

/// What is asked, ready to be walked.
struct Prepared {
    wanted: Box<dyn Weight>,
    /// Walked beside it, by seeking: the exclusion of phrases by the index itself (tantivy 0.27) seeks backwards.
    excluded: Vec<Box<dyn Weight>>,
}

/// What is looked up of each document that has the words. Asked in the order of documents.
struct Filter<'a> {
    conditions: &'a Conditions,
    excluded: Vec<Box<dyn Scorer>>,
    status: Column<u64>,
    budget: Column<i64>,
    posted: Column<i64>,
}

impl Filter<'_> {
    fn lets(&mut self, document: DocId) -> bool {
        let excludes = |found: &mut Box<dyn Scorer>| {
            let at = if found.doc() < document { found.seek(document) } else { found.doc() };
            at == document
        };
        self.meets_conditions(document) && !self.excluded.iter_mut().any(excludes)
    }

    fn meets_conditions(&self, document: DocId) -> bool {
        let Conditions { statuses, budget: (least, most), posted_after, .. } = self.conditions;
        let holds = |column: &Column<i64>, test: &dyn Fn(i64) -> bool| column.first(document).is_some_and(test);
        (statuses.is_empty() || self.status.first(document).is_some_and(|status| statuses.contains(&status)))
            && (least.is_none() && most.is_none()
                || holds(&self.budget, &|paid| {
                    least.is_none_or(|least| paid >= least) && most.is_none_or(|most| paid <= most)
                }))
            && posted_after.is_none_or(|after| holds(&self.posted, &|posted| posted > after))
    }
}

/// A place by which what comes first in the direction of reading is the greatest.
type Rank = (i64, u128);

/// Keeps the first of a list in the direction of reading.
struct First {
    window: Window,
    /// The last one on top.
    kept: BinaryHeap<Reverse<Rank>>,
}

impl First {
    /// Whether the list is read from its greatest on.
    const fn descends(window: &Window) -> bool {
        window.ascending == window.backward
    }

    /// A place as a rank: the greatest comes first.
    fn rank(&self, (key, id): Place) -> Rank {
        let rank = (key, id.as_u128());
        if Self::descends(&self.window) { rank } else { (!rank.0, !rank.1) }
    }

    /// The ranks between which the part lies, both excluded.
    fn bounds(&self) -> (Option<Rank>, Option<Rank>) {
        let (from, to) =
            (self.window.after.map(|place| self.rank(place)), self.window.before.map(|place| self.rank(place)));
        if self.window.backward { (to, from) } else { (from, to) }
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= self.window.most
    }

    /// The rank that a new one must be above.
    fn worst(&self) -> Option<Rank> {
        self.kept.peek().filter(|_| self.is_full()).map(|worst| worst.0)
    }

    fn push(&mut self, rank: Rank) {
        if self.worst().is_some_and(|worst| rank <= worst) {
            return;
        }
        self.kept.push(Reverse(rank));
        if self.kept.len() > self.window.most {
            self.kept.pop();
        }
    }

    /// In the direction of reading.
    fn places(self) -> Vec<Place> {
        let descends = Self::descends(&self.window);
        let mut ranks: Vec<_> = self.kept.into_iter().map(|rank| rank.0).collect();
        ranks.sort_unstable_by_key(|rank| Reverse(*rank));
        let place = |(key, id): (i64, u128)| if descends { (key, id) } else { (!key, !id) };
        ranks.into_iter().map(place).map(|(key, id)| (key, Uuid::from_u128(id))).collect()
    }
}

impl Look {
    /// A part of the list of what answers, in the direction of reading.
    pub(super) fn part(
        &self,
        query: Option<&Query>,
        conditions: &Conditions,
        window: Window,
    ) -> tantivy::Result<Vec<Place>> {
        let mut first = First { window, kept: BinaryHeap::with_capacity(window.most + 1) };
        if window.most == 0 {
            return Ok(Vec::new());
        }
        let statistics = Weighed(&self.searcher);
        let scoring = match window.by {
            SortedBy::Relevance => EnableScoring::enabled_from_statistics_provider(&statistics, &self.searcher),
            _ => EnableScoring::disabled_from_searcher(&self.searcher),
        };
        let prepared = self.prepare(query, conditions, scoring)?;
        for segment in self.searcher.segment_readers() {
            self.stop.check()?;
            match window.by {
                SortedBy::Relevance => self.best(&prepared, segment, conditions, &mut first)?,
                _ => self.sorted(&prepared, segment, conditions, &mut first)?,
            }
        }
        Ok(first.places())
    }

    fn sorted(
        &self,
        prepared: &Prepared,
        segment: &SegmentReader,
        conditions: &Conditions,
        first: &mut First,
    ) -> tantivy::Result<()> {
        let (mut filter, ids) = (Self::filter(prepared, segment, conditions)?, Ids::of(segment)?);
        let column = segment.fast_fields().i64(match first.window.by {
            SortedBy::Posted | SortedBy::Relevance => "posted",
            SortedBy::Budget => "budget",
            SortedBy::Deadline => "deadline",
        })?;
        // The segment is in the order in which it is read.
        let in_order = first.window.by == SortedBy::Posted && First::descends(&first.window);
        let (after, before) = first.bounds();
        let mut documents = prepared.wanted.scorer(segment, 1.0)?;
        let mut document = documents.doc();
        if in_order && let Some((newest, _)) = after {
            // What is newer comes before the part.
            let begin =
                partition(segment.max_doc(), |document| column.first(document).is_some_and(|posted| posted > newest));
            if document < begin {
                document = if begin < segment.max_doc() { documents.seek(begin) } else { TERMINATED };
            }
        }
        let mut seen = 0_u32;
        while document != TERMINATED {
            seen += 1;
            if seen.is_multiple_of(LOOK) {
                self.stop.check()?;
            }
            let key = column.first(document).unwrap_or_default();
            // The names of these would be looked up for nothing.
            let ranked = if First::descends(&first.window) { key } else { !key };
            let hopeless =
                first.worst().is_some_and(|worst| ranked < worst.0) || before.is_some_and(|before| ranked < before.0);
            if hopeless && in_order {
                break;
            }
            if !hopeless && !segment.is_deleted(document) && filter.lets(document) {
                let rank = first.rank((key, ids.at(document)));
                if after.is_none_or(|after| rank < after) && before.is_none_or(|before| rank > before) {
                    first.push(rank);
                }
            }
            document = documents.advance();
        }
        Ok(())
    }

    fn best(
        &self,
        prepared: &Prepared,
        segment: &SegmentReader,
        conditions: &Conditions,
        first: &mut First,
    ) -> tantivy::Result<()> {
        let (mut filter, ids) = (Self::filter(prepared, segment, conditions)?, Ids::of(segment)?);
        let posted = segment.fast_fields().i64("posted")?;
        let (after, before) = first.bounds();
        let descends = First::descends(&first.window);
        let (mut seen, mut stopped) = (0_u32, Ok(()));
        let begin = first.worst().filter(|_| descends).map_or(Score::MIN, |(worst, _)| score_of(worst).next_down());
        let mut look = |document: DocId, score: Score| {
            seen += 1;
            if seen.is_multiple_of(LOOK) && stopped.is_ok() {
                stopped = self.stop.check();
            }
            if stopped.is_err() {
                return Score::MAX;
            }
            let key = relevance(score, posted.first(document).unwrap_or_default());
            if !segment.is_deleted(document) && filter.lets(document) {
                let rank = first.rank((key, ids.at(document)));
                if after.is_none_or(|after| rank < after) && before.is_none_or(|before| rank > before) {
                    first.push(rank);
                }
            }
            // What has the score of the last one may still come before it if it was posted in the same second: of those
            // that are, the segment's order says nothing.
            match first.worst() {
                Some((worst, _)) if descends => {
                    let least = score_of(worst);
                    if (key & SECONDS) < (worst & SECONDS) { least } else { least.next_down() }
                }
                _ => Score::MIN,
            }
        };
        if descends {
            prepared.wanted.for_each_pruning(begin, segment, &mut look)?;
        } else {
            prepared.wanted.for_each(segment, &mut |document, score| {
                look(document, score);
            })?;
        }
        stopped
    }

    /// How many answer, counted up to `most`.
    pub(super) fn count(&self, query: Option<&Query>, conditions: &Conditions, most: u64) -> tantivy::Result<u64> {
        let mut count = 0;
        self.each(query, conditions, |_, _| {
            count += 1;
            count < most
        })?;
        Ok(count)
    }

    /// How many of those that answer have each skill, and pay how much: below the first of `bounds`, up to the next, and so
    /// on.
    pub(super) fn facets(
        &self,
        query: Option<&Query>,
        conditions: &Conditions,
        bounds: &[i64],
    ) -> tantivy::Result<Facets> {
        let mut facets = Facets { budgets: vec![0; bounds.len() + 1], ..Facets::default() };
        let prepared = self.prepare(query, conditions, EnableScoring::disabled_from_searcher(&self.searcher))?;
        for segment in self.searcher.segment_readers() {
            let skills = segment.fast_fields().bytes("skills")?;
            let budget = segment.fast_fields().i64("budget")?;
            let mut counts = vec![0_u64; skills.as_ref().map_or(0, BytesColumn::num_terms)];
            self.each_of(&prepared, segment, conditions, &mut |document| {
                if let Some(skills) = &skills {
                    for skill in skills.term_ords(document) {
                        if let Some(count) = usize::try_from(skill).ok().and_then(|skill| counts.get_mut(skill)) {
                            *count += 1;
                        }
                    }
                }
                let paid = budget.first(document).unwrap_or_default();
                facets.budgets[bounds.partition_point(|bound| *bound <= paid)] += 1;
                true
            })?;
            let Some(skills) = skills else { continue };
            for (ordinal, count) in (0_u64..).zip(counts).filter(|(_, count)| *count > 0) {
                let mut name = Vec::new();
                skills.ord_to_bytes(ordinal, &mut name)?;
                if let Ok(skill) = Uuid::from_slice(&name) {
                    *facets.skills.entry(skill).or_default() += count;
                }
            }
        }
        Ok(facets)
    }

    fn each(
        &self,
        query: Option<&Query>,
        conditions: &Conditions,
        mut look: impl FnMut(&SegmentReader, DocId) -> bool,
    ) -> tantivy::Result<()> {
        let prepared = self.prepare(query, conditions, EnableScoring::disabled_from_searcher(&self.searcher))?;
        for segment in self.searcher.segment_readers() {
            if !self.each_of(&prepared, segment, conditions, &mut |document| look(segment, document))? {
                break;
            }
        }
        Ok(())
    }

    /// Calls `look` with each of a segment's documents that answer, until it says that it has enough.
    fn each_of(
        &self,
        prepared: &Prepared,
        segment: &SegmentReader,
        conditions: &Conditions,
        look: &mut dyn FnMut(DocId) -> bool,
    ) -> tantivy::Result<bool> {
        let mut filter = Self::filter(prepared, segment, conditions)?;
        let mut documents = prepared.wanted.scorer(segment, 1.0)?;
        let (mut document, mut seen) = (documents.doc(), 0_u32);
        while document != TERMINATED {
            if seen.is_multiple_of(LOOK) {
                self.stop.check()?;
            }
            seen += 1;
            if !segment.is_deleted(document) && filter.lets(document) && !look(document) {
                return Ok(false);
            }
            document = documents.advance();
        }
        Ok(true)
    }

    fn filter<'a>(
        prepared: &Prepared,
        segment: &SegmentReader,
        conditions: &'a Conditions,
    ) -> tantivy::Result<Filter<'a>> {
        let excluded = prepared.excluded.iter().map(|weight| weight.scorer(segment, 1.0)).collect::<Result<_, _>>()?;
        let columns = segment.fast_fields();
        let (status, budget, posted) = (columns.u64("status")?, columns.i64("budget")?, columns.i64("posted")?);
        Ok(Filter { conditions, excluded, status, budget, posted })
    }

    fn prepare(
        &self,
        query: Option<&Query>,
        conditions: &Conditions,
        scoring: EnableScoring<'_>,
    ) -> tantivy::Result<Prepared> {
        let unscored = EnableScoring::disabled_from_searcher(&self.searcher);
        let words = query.into_iter().flat_map(|query| &query.excluded);
        let excluded = words.map(|word| {
            terms::word(&self.searcher, &self.opened.fields, word, conditions.titles_only)?.weight(unscored)
        });
        let excluded = excluded.collect::<tantivy::Result<_>>()?;
        Ok(Prepared { wanted: self.wanted(query, conditions)?.weight(scoring)?, excluded })
    }

    /// The words, and of the conditions those that few documents meet.
    fn wanted(&self, query: Option<&Query>, conditions: &Conditions) -> tantivy::Result<Box<dyn IndexQuery>> {
        let fields = &self.opened.fields;
        let mut clauses: Vec<(Occur, Box<dyn IndexQuery>)> = Vec::new();
        if let Some(query) = query {
            for word in &query.words {
                clauses.push((Occur::Must, terms::word(&self.searcher, fields, word, conditions.titles_only)?));
            }
        }
        let any = |names: &[Uuid]| -> Box<dyn IndexQuery> {
            let mut named = names.iter().map(|name| Term::from_field_bytes(fields.tags, name.as_bytes()));
            let query: Box<dyn IndexQuery> = match (named.next(), named.next()) {
                (Some(one), None) => Box::new(TermQuery::new(one, IndexRecordOption::Basic)),
                (one, next) => Box::new(TermSetQuery::new(one.into_iter().chain(next).chain(named))),
            };
            Box::new(ConstScoreQuery::new(query, 0.0))
        };
        if let Some(owner) = conditions.owner {
            clauses.push((Occur::Must, any(&[owner])));
        }
        if !conditions.any_skill.is_empty() {
            clauses.push((Occur::Must, any(&conditions.any_skill)));
        }
        clauses.extend(conditions.all_skills.iter().map(|skills| (Occur::Must, any(skills))));
        Ok(match clauses.len() {
            0 => Box::new(AllQuery),
            1 => clauses.remove(0).1,
            _ => Box::new(BooleanQuery::new(clauses)),
        })
    }
}

const SECONDS: i64 = 0xFFFF_FFFF;

/// A score as a key: of those that answer alike the one that was posted in a later second comes first.
fn relevance(score: Score, posted: i64) -> i64 {
    let seconds = (posted / 1_000).clamp(0, SECONDS);
    i64::from(score.max(0.0).to_bits()) << 32 | seconds
}

fn score_of(key: i64) -> Score {
    Score::from_bits(u32::try_from(key >> 32).unwrap_or_default())
}

/// The first document for which a test fails that holds for all before it.
fn partition(end: DocId, holds: impl Fn(DocId) -> bool) -> DocId {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// The names of documents.
struct Ids {
    high: Column<u64>,
    low: Column<u64>,
}

impl Ids {
    fn of(segment: &SegmentReader) -> tantivy::Result<Self> {
        Ok(Self { high: segment.fast_fields().u64("high")?, low: segment.fast_fields().u64("low")? })
    }

    fn at(&self, document: DocId) -> Uuid {
        let half = |column: &Column<u64>| column.first(document).unwrap_or_default();
        Uuid::from_u64_pair(half(&self.high), half(&self.low))
    }
}

/// How rare words are, in steps of eight: a job more or less changes no score.
struct Weighed<'a>(&'a Searcher);

impl Bm25StatisticsProvider for Weighed<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let is_title = self.0.schema().get_field_name(field) == "title";
        Ok(WEIGHED * if is_title { TITLE_TOKENS } else { TEXT_TOKENS })
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(WEIGHED)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let (all, with) = (self.0.num_docs().max(1), self.0.doc_freq(term)?.max(1));
        let steps = (all / with).checked_ilog2().unwrap_or_default() / 3;
        Ok((WEIGHED >> (3 * steps + 1)).max(1))
    }
}

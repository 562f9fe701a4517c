//! A word of a query as the index knows it: which of its terms are meant.
//!
//! The dictionary of the index says which words there are: other forms of an English word have its stem, a beginning has
//! all that begin so, and a typing error is the nearest word that there is. Called by `find` and by [`Search`](super::Search).

use std::{collections::BTreeMap, ops::Bound};

use tantivy::{
    Searcher, Term,
    query::{
        BooleanQuery, BoostQuery, ConstScoreQuery, Occur, PhrasePrefixQuery, PhraseQuery, Query as IndexQuery,
        RangeQuery, TermQuery,
    },
    schema::{Field, IndexRecordOption},
};

use super::{
    index::Fields,
    query::{self, Query, Word, distance},
};

/// Hits in a title count for so many in the text.
const TITLE: f32 = 5.0;
/// What another form, or a longer word, counts beside the word itself.
const LIKE: f32 = 0.5;
/// Terms that are ranked one by one; more are taken together.
const MOST_TERMS: usize = 32;
/// Terms of the dictionary that are looked at for one word.
const MOST_LOOKED_AT: usize = 50_000;

/// A word that is nowhere, and the one that was looked for in its place. Both are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// As it came.
    pub typed: String,
    /// The nearest one that there is.
    pub meant: String,
}

/// What finds the documents with a word in their title or, unless only titles count, in their text.
pub(super) fn word(
    searcher: &Searcher,
    fields: &Fields,
    word: &Word,
    titles_only: bool,
) -> tantivy::Result<Box<dyn IndexQuery>> {
    let mut either: Vec<(Occur, Box<dyn IndexQuery>)> = Vec::new();
    let both = [(fields.title, TITLE), (fields.text, 1.0)];
    for (field, weight) in both.into_iter().take(if titles_only { 1 } else { 2 }) {
        for (query, part) in in_field(searcher, field, word)? {
            let boost = weight * part;
            let query =
                if (boost - 1.0).abs() < f32::EPSILON { query } else { Box::new(BoostQuery::new(query, boost)) };
            either.push((Occur::Should, query));
        }
    }
    Ok(Box::new(BooleanQuery::new(either)))
}

fn in_field(searcher: &Searcher, field: Field, word: &Word) -> tantivy::Result<Vec<(Box<dyn IndexQuery>, f32)>> {
    let mut either: Vec<(Box<dyn IndexQuery>, f32)> = Vec::new();
    let mut single = |text: &str, stem: Option<&str>| -> tantivy::Result<()> {
        either.push((term(field, text), 1.0));
        if let Some(stem) = stem {
            let of_stem = |other: &str| other != text && query::stem(other).as_deref() == Some(stem);
            for other in known(searcher, field, common_start(stem), of_stem, MOST_LOOKED_AT)?.into_keys() {
                either.push((term(field, &other), LIKE));
            }
        }
        if word.is_prefix {
            let longer = known(searcher, field, text, |other| other != text, MOST_TERMS + 1)?;
            if longer.len() <= MOST_TERMS {
                either.extend(longer.into_keys().map(|other| (term(field, &other), LIKE)));
            } else {
                let end =
                    after(text).map_or(Bound::Unbounded, |end| Bound::Excluded(Term::from_field_text(field, &end)));
                let all = RangeQuery::new(Bound::Included(Term::from_field_text(field, text)), end);
                either.push((Box::new(ConstScoreQuery::new(Box::new(all), 1.0)), LIKE));
            }
        }
        Ok(())
    };
    if let Some(text) = word.alone() {
        single(text, word.stem.as_deref())?;
    } else {
        if let Some(joined) = &word.joined {
            single(joined, None)?;
        }
        let terms = word
            .sequence
            .iter()
            .map(|(place, text)| (usize::try_from(*place).unwrap_or(usize::MAX), Term::from_field_text(field, text)));
        let phrase: Box<dyn IndexQuery> = if word.is_prefix {
            let mut phrase = PhrasePrefixQuery::new_with_offset(terms.collect());
            phrase.set_max_expansions(u32::try_from(MOST_LOOKED_AT).unwrap_or(u32::MAX));
            Box::new(phrase)
        } else {
            Box::new(PhraseQuery::new_with_offset(terms.collect()))
        };
        either.push((phrase, 1.0));
    }
    Ok(either)
}

fn term(field: Field, text: &str) -> Box<dyn IndexQuery> {
    Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::WithFreqs))
}

/// With what all words of a stem begin. Stems are of ASCII.
fn common_start(stem: &str) -> &str {
    stem.get(..if stem.len() > 4 { 4 } else { 2 }).unwrap_or(stem)
}

/// The first text that is behind all that begin so.
fn after(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = (u32::from(last) + 1..=0x10_FFFF).find_map(char::from_u32) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// The terms of a field that begin so and meet a test, with in how many documents they are: up to `most`.
fn known(
    searcher: &Searcher,
    field: Field,
    start: &str,
    test: impl Fn(&str) -> bool,
    most: usize,
) -> tantivy::Result<BTreeMap<String, u64>> {
    let (mut known, mut looked_at) = (BTreeMap::<String, u64>::new(), 0);
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(field)?;
        let mut range = index.terms().range().ge(start.as_bytes());
        if let Some(end) = after(start) {
            range = range.lt(end.as_bytes());
        }
        let mut terms = range.into_stream()?;
        while terms.advance() {
            looked_at += 1;
            if looked_at > MOST_LOOKED_AT || known.len() >= most {
                break;
            }
            if let Ok(text) = std::str::from_utf8(terms.key())
                && test(text)
            {
                *known.entry(text.to_owned()).or_default() += u64::from(terms.value().doc_freq);
            }
        }
    }
    Ok(known)
}

/// The query with the nearest words that there are in the place of those that are nowhere, and which are in place of which;
/// none if all are somewhere, or if one is like none.
pub(super) fn corrected(
    searcher: &Searcher,
    fields: &Fields,
    query: &Query,
) -> tantivy::Result<Option<(Query, Vec<Correction>)>> {
    let (mut corrected, mut corrections) = (query.clone(), Vec::new());
    for word in &mut corrected.words {
        let Some(text) = word.alone().filter(|_| word.errors > 0).map(ToOwned::to_owned) else { continue };
        let is_there = |field| -> tantivy::Result<bool> {
            let start = word.stem.as_deref().map_or(text.as_str(), common_start);
            let like = |other: &str| {
                other == text
                    || word.stem.is_some() && query::stem(other) == word.stem
                    || word.is_prefix && other.starts_with(&text)
            };
            Ok(!known(searcher, field, start, like, 1)?.is_empty())
        };
        if is_there(fields.title)? || is_there(fields.text)? {
            continue;
        }
        // The first letter is hardly ever wrong.
        let start: String = text.chars().take(1).collect();
        let mut best: Option<(u8, std::cmp::Reverse<u64>, String)> = None;
        for field in [fields.title, fields.text] {
            let near = |other: &str| distance(&text, other, word.errors) <= word.errors;
            for (other, documents) in known(searcher, field, &start, near, MOST_LOOKED_AT)? {
                let far = (distance(&text, &other, word.errors), std::cmp::Reverse(documents), other);
                if best.as_ref().is_none_or(|best| far < *best) {
                    best = Some(far);
                }
            }
        }
        let Some((_, _, other)) = best else { return Ok(None) };
        *word = Word::plain(&other);
        corrections.push(Correction { typed: text, meant: other });
    }
    Ok((!corrections.is_empty()).then_some((corrected, corrections)))
}

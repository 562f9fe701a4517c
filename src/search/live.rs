//! By which few words a text finds the queries that it may answer, so that ten thousand saved searches are not looked at
//! one by one for each event.
//!
//! A query is registered under the *terms* of one of its words, the one that says most; each text that answers it has one
//! of these. A term is a number made of a word, its stem or its beginning; two words may share one, since a query that is found
//! by a term is asked whether it matches ([`Query::matches`]).
//!
//! Invariant: whatever a query matches has one of the query's terms. Pure, but for a key of this process's own, by which
//! nobody can choose words that share a term. Called by `jobs`.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use uuid::Uuid;

use super::query::{Query, SHORTEST_PREFIX, Word, Words};

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What of a word a term is made of.
#[derive(Clone, Copy, Hash)]
enum Part {
    Whole,
    Stem,
    Beginning,
}

/// The terms under which a query is registered. None of a query without a word, which matches nothing.
pub fn terms_of(query: &Query) -> Vec<Uuid> {
    query.words.iter().max_by_key(|word| weight(word)).map(terms_of_word).unwrap_or_default()
}

/// The terms of a text; some may come twice.
pub fn terms(words: &Words) -> impl Iterator<Item = Uuid> {
    let whole = words.tokens().flat_map(|token| [term(Part::Whole, token), term(Part::Beginning, beginning(token))]);
    whole.chain(words.stems().map(|stem| term(Part::Stem, stem)))
}

/// How much a word says, in letters: of a beginning no more than is looked up of it.
fn weight(word: &Word) -> usize {
    match (&word.sequence[..], word.is_prefix) {
        ([_], true) => SHORTEST_PREFIX,
        _ => key_of(word).chars().count(),
    }
}

/// What of a sequence is looked up: its longest token that is a whole one.
fn key_of(word: &Word) -> &str {
    let whole = word.sequence.len() - usize::from(word.is_prefix && word.sequence.len() > 1);
    let tokens = word.sequence.iter().take(whole).map(|(_, token)| token.as_str());
    tokens.max_by_key(|token| token.chars().count()).unwrap_or_default()
}

fn terms_of_word(word: &Word) -> Vec<Uuid> {
    let key = key_of(word);
    let is_beginning = word.is_prefix && word.sequence.len() == 1;
    let of_key = if is_beginning { term(Part::Beginning, beginning(key)) } else { term(Part::Whole, key) };
    let joined = word.joined.as_deref().map(|joined| {
        if word.is_prefix { term(Part::Beginning, beginning(joined)) } else { term(Part::Whole, joined) }
    });
    let stem = word.stem.as_deref().map(|stem| term(Part::Stem, stem));
    [Some(of_key), joined, stem].into_iter().flatten().collect()
}

/// As many letters as the shortest beginning has by which a word is found.
fn beginning(token: &str) -> &str {
    token.char_indices().nth(SHORTEST_PREFIX).map_or(token, |(end, _)| &token[..end])
}

fn term(part: Part, text: &str) -> Uuid {
    Uuid::from_u64_pair(0, KEY.hash_one((part, text)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn meets(query: &str, text: &str) -> bool {
        let terms: HashSet<Uuid> = terms(&Words::of(text)).collect();
        terms_of(&Query::parse(query).expect("few words")).iter().any(|term| terms.contains(term))
    }

    #[test]
    fn whatever_a_query_matches_has_one_of_its_terms() {
        let texts = [
            "Node.js and full-stack lessons",
            "Port a billing service to C++ or .NET",
            "ロゴ設計の依頼です",
            "Reactでアプリ開発",
            "대한민국민국어",
            "Новый сайт для ёлки",
            "Café résumé naïve",
            "Studies of an e‑mail archive",
        ];
        let queries = [
            "node",
            "Node.js",
            "nodejs",
            "node.j",
            "nodej",
            "fullstack",
            "full stack",
            "lesson",
            "less",
            "C++",
            ".net",
            "bill",
            "billing service",
            "\"billing service\"",
            "\"billing serv",
            "設計",
            "計",
            "ロゴ -アプリ",
            "アプリ開発",
            "react",
            "민국",
            "елки",
            "сай",
            "cafe",
            "RESUME",
            "study",
            "studies",
            "email",
            "e-mail",
            "archives",
            "to",
            "c",
            "port -node",
        ];
        let mut matched = 0;
        for text in texts {
            for query in queries {
                if Query::parse(query).expect("few words").matches(&Words::of(text), &Words::default()) {
                    matched += 1;
                    assert!(meets(query, text), "{query:?} in {text:?}");
                }
            }
        }
        assert!(matched > 30, "{matched}");
    }

    #[test]
    fn the_word_that_says_most_finds_it() {
        assert!(meets("a translation", "Translations"));
        assert!(!meets("a translation", "A label"), "not the article");
        assert!(!meets("translation la", "A label"), "nor the beginning");
        assert!(terms_of(&Query::default()).is_empty());
    }
}

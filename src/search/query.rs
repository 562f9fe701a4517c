//! What somebody looks for: words, "phrases", -exclusions, and the beginning of the last word.
//!
//! - Every word must be found in the title or the text, in any order; what stands between quotes must follow each other in
//!   one of them; what begins with a hyphen must be in neither.
//! - An English word of four letters or more is found in its other forms too (`lesson`, `lessons`), but not in quotes.
//! - The last word is found by its beginning too, from its second letter on, unless a blank or a quote follows it.
//! - A word of [`ONE_ERROR`] letters or more may have a typing error, one of [`TWO_ERRORS`] two; only where nothing is
//!   found as it was typed, and the answer says so. That is the index's affair; which words may be meant is said here
//!   ([`Word::errors`], [`distance`]).
//!
//! Invariants: at most [`MOST_WORDS`] different words, each of bounded length; nothing in a query is an operator but quotes
//! and the hyphen; [`Query::matches`] says the same of two texts as the index does of a job. Pure: knows no index. Called
//! by `terms` and `live`, and by `jobs`.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use frostem::{Algorithm, Stemmer};

use super::analysis::{Chunk, Form, Token, chunk, chunks, fold, is_unspaced, tokens};

/// Different words of one query.
pub const MOST_WORDS: usize = 32;
/// Letters of a word that may have one typing error.
pub const ONE_ERROR: usize = 5;
/// Letters of a word that may have two.
pub const TWO_ERRORS: usize = 8;
/// Letters of the shortest beginning by which a word is found.
pub(super) const SHORTEST_PREFIX: usize = 2;
/// Letters of the shortest word that has other forms.
const SHORTEST_STEM: usize = 4;

static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::new(Algorithm::English));

/// Why a text cannot be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have at most {MOST_WORDS} different words; leave some out")]
pub struct TooManyWords;

/// One word, or what follows each other: a phrase, a compound, a run of a script without spaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Word {
    /// What must follow each other, with the places counted from the first. Never empty.
    pub sequence: Vec<(u32, String)>,
    /// The one token that may stand for all of them.
    pub joined: Option<String>,
    /// The stem, where other forms of the word count. Only of a sequence of one.
    pub stem: Option<String>,
    /// Whether the last of the sequence, and what stands for all, is the beginning of a word.
    pub is_prefix: bool,
    /// How many typing errors it may have. Only of a sequence of one.
    pub errors: u8,
}

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// All of which must be found. None: nothing is found.
    pub words: Vec<Word>,
    /// None of which may be found.
    pub excluded: Vec<Word>,
}

/// A text whose tokens are known, to be looked at by many queries.
#[derive(Clone, Debug, Default)]
pub struct Words {
    places: HashMap<String, Vec<u32>>,
    stems: HashSet<String>,
}

impl Words {
    /// The tokens of a text.
    pub fn of(text: &str) -> Self {
        let mut words = Self::default();
        for Token { text, place, form } in tokens(text) {
            if form != Form::Pair && form != Form::Single {
                words.stems.extend(stem(&text));
            }
            words.places.entry(text).or_default().push(place);
        }
        words
    }

    /// Its different tokens.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The different stems of its words.
    pub(super) fn stems(&self) -> impl Iterator<Item = &str> {
        self.stems.iter().map(String::as_str)
    }

    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        // A table is half full on average, and says of each place in a byte whether it is taken.
        let of_token = |(token, places): (&String, &Vec<u32>)| {
            2 * (size_of::<(String, Vec<u32>)>() + 1) + token.capacity() + places.capacity() * size_of::<u32>()
        };
        let of_stem = |stem: &String| 2 * (size_of::<String>() + 1) + stem.capacity();
        self.places.iter().map(of_token).sum::<usize>() + self.stems.iter().map(of_stem).sum::<usize>()
    }

    fn at(&self, token: &str, place: u32) -> bool {
        self.places.get(token).is_some_and(|places| places.contains(&place))
    }

    fn begins_at(&self, prefix: &str, place: u32) -> bool {
        self.places.iter().any(|(token, places)| token.starts_with(prefix) && places.contains(&place))
    }

    fn begins(&self, prefix: &str) -> bool {
        self.places.keys().any(|token| token.starts_with(prefix))
    }
}

impl Query {
    /// Reads what somebody typed. Refuses one of too many words.
    pub fn parse(text: &str) -> Result<Self, TooManyWords> {
        let folded = fold(text);
        let (mut words, mut excluded) = (Vec::new(), Vec::new());
        let mut rest = folded.trim_start();
        while !rest.is_empty() {
            let plain = rest.trim_start_matches('-');
            // A hyphen before a blank is a dash.
            let is_unwanted =
                plain.len() < rest.len() && plain.chars().next().is_some_and(|next| !next.is_whitespace());
            let list = if is_unwanted { &mut excluded } else { &mut words };
            let goes_on;
            if let Some(quoted) = plain.strip_prefix('"') {
                let (phrase, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                goes_on = phrase.len() == quoted.len();
                list.extend(Word::phrase(phrase));
                rest = after;
            } else {
                let end = plain.find(|next: char| next.is_whitespace() || next == '"').unwrap_or(plain.len());
                let chunks = chunks(&plain[..end]);
                // Only where the word is what was typed last.
                goes_on = end == plain.len() && plain.chars().next_back().is_some_and(|last| !joins_on(last));
                list.extend(chunks.into_iter().map(Word::of));
                rest = &plain[end..];
            }
            if rest.is_empty()
                && goes_on
                && !is_unwanted
                && let Some(last) = words.last_mut()
            {
                last.begin();
            }
            rest = rest.trim_start();
        }
        let (words, excluded) = (distinct(words), distinct(excluded));
        let many = words.len() + excluded.len() > MOST_WORDS;
        if many { Err(TooManyWords) } else { Ok(Self { words, excluded }) }
    }

    /// The same where nobody is typing: its last word is a whole one.
    #[must_use]
    pub fn whole(mut self) -> Self {
        for word in &mut self.words {
            word.is_prefix = false;
        }
        self
    }

    /// Looks for what both look for. Where one of them finds nothing, so do both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return Self::default();
        }
        let words = self.words.into_iter().chain(other.words).collect();
        let excluded = self.excluded.into_iter().chain(other.excluded).collect();
        Self { words: distinct(words), excluded: distinct(excluded) }
    }

    /// Whether there is no word to look for: nothing is found then.
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a title and a text hold all that is looked for, as it was typed.
    pub fn matches(&self, title: &Words, text: &Words) -> bool {
        let found = |word: &Word| word.is_in(title) || word.is_in(text);
        !self.words.is_empty() && self.words.iter().all(found) && !self.excluded.iter().any(found)
    }

    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        let of_word = |word: &Word| {
            let texts = word.sequence.iter().map(|(_, text)| text).chain(&word.joined).chain(&word.stem);
            size_of::<Word>()
                + word.sequence.capacity() * size_of::<(u32, String)>()
                + texts.map(String::capacity).sum::<usize>()
        };
        size_of::<Self>() + self.words.iter().chain(&self.excluded).map(of_word).sum::<usize>()
    }
}

impl Word {
    fn of(Chunk { sequence, joined }: Chunk) -> Self {
        let first = sequence.first().map_or(0, |token| token.place);
        let word = match sequence.as_slice() {
            [Token { text, form: Form::Word, .. }] => Some(text.as_str()),
            _ => None,
        };
        let (stem, errors) = (word.and_then(stem), word.map_or(0, errors));
        let sequence = sequence.into_iter().map(|token| (token.place - first, token.text)).collect();
        Self { sequence, joined, stem, is_prefix: false, errors }
    }

    /// A whole word without errors.
    pub fn plain(text: &str) -> Self {
        Self { sequence: vec![(0, text.to_owned())], joined: None, stem: stem(text), is_prefix: false, errors: 0 }
    }

    /// What must follow each other, as it is written.
    fn phrase(text: &str) -> Option<Self> {
        let whole = Self::of(chunk(&tokens(text))?);
        Some(Self { joined: None, stem: None, errors: 0, ..whole })
    }

    /// Takes the word for the beginning of one.
    fn begin(&mut self) {
        let of_run = |text: &str| text.chars().next().is_some_and(is_unspaced);
        let last = self.sequence.last().map(|(_, text)| text.as_str()).unwrap_or_default();
        // Of a compound one letter is enough: the words before it narrow what is found.
        let letters = last.chars().count() + self.sequence.len() - 1;
        self.is_prefix = letters >= SHORTEST_PREFIX && !of_run(last);
    }

    /// The one token that it is; none of a sequence.
    pub fn alone(&self) -> Option<&str> {
        match self.sequence.as_slice() {
            [(_, text)] => Some(text),
            _ => None,
        }
    }

    /// Whether a text holds it.
    fn is_in(&self, text: &Words) -> bool {
        let [(_, first), ..] = self.sequence.as_slice() else { return false };
        if let Some(joined) = &self.joined
            && (text.places.contains_key(joined) || self.is_prefix && text.begins(joined))
        {
            return true;
        }
        if self.sequence.len() == 1 {
            return text.places.contains_key(first)
                || self.stem.as_ref().is_some_and(|stem| text.stems.contains(stem))
                || self.is_prefix && text.begins(first);
        }
        let last = self.sequence.len() - 1;
        text.places.get(first).into_iter().flatten().any(|start| {
            self.sequence.iter().enumerate().skip(1).all(|(number, (offset, token))| {
                let place = start + offset;
                text.at(token, place) || self.is_prefix && number == last && text.begins_at(token, place)
            })
        })
    }
}

/// Whether something is being joined to what stands before it.
const fn joins_on(last: char) -> bool {
    last == '-'
}

fn distinct(words: Vec<Word>) -> Vec<Word> {
    let mut seen = HashSet::new();
    words.into_iter().filter(|word| seen.insert(word.clone())).collect()
}

/// The stem of an English word; none where there is but one form.
pub fn stem(word: &str) -> Option<String> {
    let is_english = word.len() >= SHORTEST_STEM && word.bytes().all(|byte| byte.is_ascii_lowercase());
    is_english.then(|| ENGLISH.stem(word).into_owned())
}

/// How many typing errors a word may have.
fn errors(word: &str) -> u8 {
    match word.chars().count() {
        ..ONE_ERROR => 0,
        ONE_ERROR..TWO_ERRORS => 1,
        TWO_ERRORS.. => 2,
    }
}

/// How many letters must be changed, added, taken out or swapped with the next to make one word of another; `most` and one
/// more if there are more. Work is bounded by the product of their lengths.
pub fn distance(one: &str, other: &str, most: u8) -> u8 {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > usize::from(most) {
        return most + 1;
    }
    let mut before_last = vec![0; one.len() + 1];
    let mut last: Vec<usize> = (0..=one.len()).collect();
    for row in 1..=other.len() {
        let mut next = vec![row; one.len() + 1];
        for at in 1..=one.len() {
            let change = last[at - 1] + usize::from(one[at - 1] != other[row - 1]);
            next[at] = change.min(next[at - 1] + 1).min(last[at] + 1);
            if at > 1 && row > 1 && one[at - 1] == other[row - 2] && one[at - 2] == other[row - 1] {
                next[at] = next[at].min(before_last[at - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, next);
    }
    u8::try_from(last[one.len()]).unwrap_or(u8::MAX).min(most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(query: &str, title: &str) -> bool {
        Query::parse(query).expect("few words").matches(&Words::of(title), &Words::of("Plain text of the job."))
    }

    #[test]
    fn all_words_must_be_there_and_none_of_the_excluded() {
        assert!(finds("logo design", "Design a logo"));
        assert!(!finds("logo design ", "Design a label"));
        assert!(finds("logo job", "A logo"), "one in the title, one in the text");
        assert!(!finds("logo -label", "A logo and a label"));
        assert!(finds("logo -label", "A logo"));
        assert!(!finds("-label", "A logo"), "nothing is looked for");
        assert!(!finds("logo -\"a label\"", "A logo for a label"));
        assert!(finds("logo -\"a label\"", "A logo label"));
        assert!(finds("logo - design", "Design: a logo"), "a dash");
    }

    #[test]
    fn a_phrase_stands_in_one_text_as_it_is_written() {
        assert!(finds("“logo design”", "My logo design"));
        assert!(!finds("\"logo design\"", "Design: logo, designs"));
        assert!(!finds("\"logo plain\"", "A logo"), "not from the title into the text");
        assert!(finds("\"logo des", "A logo design"), "a quote that is still open");
        assert!(!finds("\"logo des\"", "A logo design"));
        assert!(finds("\"\" logo", "A logo"));
    }

    #[test]
    fn the_last_word_may_be_a_beginning() {
        assert!(finds("lo", "A logo") && finds("a lo", "A logo"));
        assert!(!finds("lo ", "A logo") && !finds("lo a", "A logo"));
        assert!(!finds("l", "A logo"), "a letter is too little");
        assert!(finds("node.j", "Node.js") && finds("nodej", "Node.js"));
        assert!(!Query::parse("lo").expect("one").whole().words[0].is_prefix);
    }

    #[test]
    fn symbols_accents_and_compounds() {
        for (name, others) in
            [("C++", ["C#", "C"]), ("C#", ["C++", "C"]), ("C", ["C++", "F#"]), (".NET", ["Net", "Planet"])]
        {
            assert!(finds(name, &format!("{name} developer")), "{name}");
            assert!(others.iter().all(|other| !finds(name, &format!("{other} developer"))), "{name}");
        }
        for (query, title) in [
            ("node", "Node.js"),
            ("Node.js", "NODE JS"),
            ("nodejs", "Node.js"),
            ("e-mail", "email"),
            ("email", "e‑mail"),
            ("full stack", "full–stack"),
            ("don't", "Don’t"),
            ("lesson", "Lessons"),
            ("recipes", "A recipe"),
            ("cafe", "Café"),
        ] {
            assert!(finds(query, title), "{query} finds {title}");
        }
        assert!(!finds("node.js", "JS for a node"));
    }

    #[test]
    fn a_word_within_is_found_in_ten_scripts() {
        for (title, words) in [
            ("ロゴ設計の依頼です", vec!["ロゴ", "設計", "依頼", "計"]),
            ("中文网站开发", vec!["网站", "开发", "站"]),
            ("Reactでアプリ開発", vec!["React", "アプリ", "で", "アプリ開発"]),
            ("แปลเอกสารภาษาไทย", vec!["เอกสาร"]),
            ("대한민국민국어", vec!["민국"]),
            ("Новый сайт для ёлки", vec!["новый", "елки", "сай"]),
            ("Μετάφραση κειμένου", vec!["μεταφραση", "ΚΕΙΜΈΝΟΥ"]),
            ("تصميم شعار للشركة", vec!["شعار", "تصميم"]),
            ("עיצוב לוגו", vec!["לוגו"]),
            ("लोगो डिज़ाइन करें", vec!["लोगो", "डिज़ाइन"]),
            ("İstanbul için tercüme", vec!["istanbul", "tercume", "ICIN"]),
        ] {
            for word in words {
                assert!(finds(&format!("{word} "), title) || finds(word, title), "{word} in {title}");
            }
        }
        assert!(!finds("計設", "ロゴ設計"), "the other way round");
    }

    #[test]
    fn what_is_no_word_is_passed_over_and_too_many_are_refused() {
        for nothing in ["", "  ", "%", "\"\"", "-", "🦊", "()", "-- \"", "\u{0}"] {
            assert!(Query::parse(nothing).expect("nothing").is_empty(), "{nothing:?}");
        }
        let many = (0..40).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(Query::parse(&many), Err(TooManyWords));
        assert_eq!(Query::parse(&"same ".repeat(100)).expect("one").words.len(), 1);
        assert!(Query::parse(&"設計".repeat(100)).is_ok());
    }

    #[test]
    fn long_words_may_have_errors() {
        let of = |word: &str| Query::parse(word).expect("one").words[0].errors;
        assert_eq!(["logo", "logos", "translat", "設計設計設計"].map(of), [0, 1, 2, 0]);
        for (one, other, far) in
            [("design", "desing", 1), ("design", "dsgin", 2), ("logo", "logos", 1), ("abc", "xyz", 3)]
        {
            assert_eq!(distance(one, other, 2), far, "{one} {other}");
        }
    }
}

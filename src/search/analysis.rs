//! One way to turn a text into tokens, for the index, for queries, for suggestions and for live matching.
//!
//! What two people write differently and mean alike becomes the same token: case, accents, full width, the Turkish dotted
//! and dotless I, ligatures, digits of other scripts, curly quotes. What they mean differently stays apart: the marks of
//! Indic scripts, the voicing of kana, `C`, `C++` and `C#`.
//!
//! - A **word** is a run of letters, marks and digits. `c++`, `c#` and `.net` are words with their symbols.
//! - A **compound** is words that a hyphen, a dot or an apostrophe joins (`full-stack`, `Node.js`, `o'brien`): the
//!   parts follow each other, and the letters without what joins them (`fullstack`) stand where the first part does.
//! - A run of a **script without spaces** (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) becomes pairs of characters, so
//!   that any part of it is found, and single characters for a query of one.
//!
//! Invariants: folding what was folded changes nothing; the same text gives the same tokens on either side; work and
//! memory are linear in the text. Pure. Called by `query` and by the index; a change here is a
//! new [`VERSION`], by which an index of before is known and built anew.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::text::{is_hidden, is_of_words};

/// Of the way in which texts become tokens. An index of another one is of no use.
pub const VERSION: u32 = 1;

/// Characters of the longest token; what a longer word has beyond is cut off, on either side.
pub const MOST_LETTERS: usize = 64;
/// Parts of the longest compound whose letters are joined.
const MOST_PARTS: usize = 3;

/// How a token came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A word, or a part of a compound.
    Word,
    /// A pair of characters of a script without spaces.
    Pair,
    /// A single character of such a script.
    Single,
    /// The letters of a compound without what joins them.
    Joined,
    /// A word without its symbols: `net` of `.net`.
    Bare,
}

/// A piece of a text by which it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The folded characters.
    pub text: String,
    /// Which place of the text it stands at; several may stand at one.
    pub place: u32,
    /// How it came about.
    pub form: Form,
}

/// Pieces of a text with nothing between them but what joins a compound: all of them must be found together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// What must follow each other, with their places.
    pub sequence: Vec<Token>,
    /// The one token that may stand for all of them.
    pub joined: Option<String>,
}

/// Folds a text: characters that are meant alike become one.
///
/// Piece by piece, since nothing combines over white space: what is of ASCII needs no tables, and that is most of most texts.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for piece in text.split_inclusive(|character: char| character.is_ascii_whitespace()) {
        if piece.is_ascii() {
            folded.extend(piece.chars().map(|character| as_one(character.to_ascii_lowercase())));
        } else {
            folded.push_str(&fold_any(piece));
        }
    }
    folded
}

fn fold_any(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut base = '\0';
    for character in text.nfkd().flat_map(char::to_lowercase) {
        if is_combining_mark(character) {
            if is_accent(character) && !(character == '\u{306}' && base == 'и') {
                continue;
            }
        } else {
            base = character;
        }
        if is_hidden(character) || character == '\u{640}' {
            continue;
        }
        push_folded(character, &mut folded);
    }
    folded.nfc().collect()
}

fn push_folded(character: char, folded: &mut String) {
    let as_text = match character {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        other => return folded.push(as_one(other)),
    };
    folded.push_str(as_text);
}

fn as_one(character: char) -> char {
    match character {
        '`' => '\'',
        ascii if ascii.is_ascii() => ascii,
        'ı' => 'i',
        'ø' => 'o',
        'đ' | 'ð' => 'd',
        'ł' => 'l',
        'ħ' => 'h',
        'ŧ' => 't',
        'ŋ' => 'n',
        'ĸ' => 'k',
        'ς' => 'σ',
        // Persian keyboards and Arabic ones have different letters for the same sound.
        'ی' | 'ى' => 'ي',
        'ک' => 'ك',
        // What keyboards, editors and phones make of a quote or a hyphen.
        '\u{2018}'..='\u{201B}' | '\u{2032}' | '\u{2BC}' | '´' => '\'',
        '\u{201C}'..='\u{201F}' | '\u{2033}' | '«' | '»' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{FE58}' => '-',
        other => digit(other).unwrap_or(other),
    }
}

/// The ASCII digit that a digit of another script means.
fn digit(character: char) -> Option<char> {
    let zeros = ['٠', '۰', '०', '০', '੦', '૦', '୦', '௦', '౦', '೦', '൦', '๐', '໐', '၀', '០'];
    let value = |zero: char| u32::from(character).checked_sub(u32::from(zero)).filter(|value| *value < 10);
    zeros.into_iter().find_map(value).and_then(|value| char::from_digit(value, 10))
}

/// Whether a mark only says how a letter sounds, in scripts whose readers leave it out when they type.
const fn is_accent(mark: char) -> bool {
    matches!(mark,
        '\u{300}'..='\u{36F}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5C7}' | '\u{610}'..='\u{61A}'
        | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{6D6}'..='\u{6ED}' | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

/// Whether a character is of a script that is written without spaces, or, as Korean, with fewer than words.
pub(super) const fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{AA60}'..='\u{AA7F}'
        | '\u{1100}'..='\u{11FF}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30FF}' | '\u{3105}'..='\u{312F}'
        | '\u{3130}'..='\u{318F}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

fn is_word(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric();
    }
    character.is_alphanumeric() || is_of_words(character)
}

/// What joins the parts of a compound.
const fn joins(character: char) -> bool {
    matches!(character, '-' | '.' | '\'')
}

/// The tokens of a text in the order of their places.
pub fn tokens(text: &str) -> Vec<Token> {
    let folded: Vec<char> = fold(text).chars().collect();
    let mut reader = Reader { characters: &folded, at: 0, place: 0, found: Vec::new() };
    while reader.at < folded.len() {
        reader.next();
    }
    reader.found
}

/// The chunks of a text that was folded.
pub(super) fn chunks(folded: &str) -> Vec<Chunk> {
    let characters: Vec<char> = folded.chars().collect();
    let mut reader = Reader { characters: &characters, at: 0, place: 0, found: Vec::new() };
    let mut chunks = Vec::new();
    while reader.at < characters.len() {
        // A dot that begins a word ends the one before, as all does that is of no word.
        if !is_word(characters[reader.at]) {
            chunks.extend(chunk(&std::mem::take(&mut reader.found)));
        }
        reader.next();
    }
    chunks.extend(chunk(&reader.found));
    chunks
}

/// Of the tokens at one place the one that says most.
pub(super) fn chunk(tokens: &[Token]) -> Option<Chunk> {
    let mut chunk = Chunk::default();
    let parts = tokens.iter().filter(|token| token.form == Form::Word).count();
    for token in tokens {
        match token.form {
            Form::Word | Form::Pair => chunk.sequence.push(token.clone()),
            Form::Joined if tokens.iter().all(|other| matches!(other.form, Form::Word | Form::Joined)) => {
                chunk.joined = Some(token.text.clone());
            }
            Form::Joined | Form::Single | Form::Bare => {}
        }
    }
    // A character that is in no pair stands for itself.
    let paired = |place: u32| {
        let at = |token: &Token| token.form == Form::Pair && (token.place == place || token.place + 1 == place);
        tokens.iter().any(at)
    };
    let alone = tokens.iter().filter(|token| token.form == Form::Single && !paired(token.place)).cloned();
    chunk.sequence.extend(alone);
    chunk.sequence.sort_by_key(|token| token.place);
    // The letters of a longer chunk would stand for a part of it.
    chunk.joined = chunk.joined.filter(|_| parts > 1 && parts <= MOST_PARTS);
    (!chunk.sequence.is_empty()).then_some(chunk)
}

/// Walks over folded characters.
struct Reader<'a> {
    characters: &'a [char],
    at: usize,
    place: u32,
    found: Vec<Token>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn push(&mut self, text: impl IntoIterator<Item = char>, place: u32, form: Form) {
        self.found.push(Token { text: text.into_iter().take(MOST_LETTERS).collect(), place, form });
    }

    /// Reads what begins here: a run, a compound, or a character that is of neither.
    fn next(&mut self) {
        let Some(first) = self.peek(0) else { return };
        let before = self.at.checked_sub(1).map(|at| self.characters[at]);
        if is_unspaced(first) {
            self.run();
        } else if is_word(first) {
            self.compound();
        } else if first == '.'
            && self.peek(1).is_some_and(char::is_alphabetic)
            && !before.is_some_and(|before| is_word(before) || before == '.')
        {
            self.dotted();
        } else {
            self.at += 1;
        }
    }

    /// A run of a script without spaces.
    fn run(&mut self) {
        let start = self.at;
        let length = self.characters[start..].iter().take_while(|character| is_unspaced(**character)).count();
        for at in start..start + length {
            self.push([self.characters[at]], self.place, Form::Single);
            if at + 1 < start + length {
                self.push([self.characters[at], self.characters[at + 1]], self.place, Form::Pair);
            }
            self.place += 1;
        }
        self.at += length;
    }

    /// `.net`, with `net` beside it.
    fn dotted(&mut self) {
        self.at += 1;
        let word = self.word();
        self.push(std::iter::once('.').chain(word.iter().copied()), self.place, Form::Word);
        self.push(word, self.place, Form::Bare);
        self.place += 1;
    }

    /// Words with what joins them between.
    fn compound(&mut self) {
        let (first, mut parts, mut letters, mut of_letters) = (self.place, 0, Vec::new(), true);
        loop {
            let mut word = self.word();
            of_letters &= word.iter().all(|character| !character.is_numeric());
            letters.extend(word.iter().copied());
            parts += 1;
            let symbols = self.symbols();
            if symbols.is_empty() {
                self.push(word, self.place, Form::Word);
            } else {
                of_letters = false;
                // Of a longer name the symbols are often left out; a letter without them is another name.
                if word.len() > 2 {
                    self.push(word.clone(), self.place, Form::Bare);
                }
                word.extend(symbols);
                self.push(word, self.place, Form::Word);
            }
            self.place += 1;
            let goes_on = self.peek(1).is_some_and(|next| is_word(next) && !is_unspaced(next));
            if !(self.peek(0).is_some_and(joins) && goes_on) {
                break;
            }
            self.at += 1;
        }
        if (2..=MOST_PARTS).contains(&parts) && of_letters {
            self.push(letters, first, Form::Joined);
        }
    }

    /// A run of what words are made of.
    fn word(&mut self) -> Vec<char> {
        let rest = &self.characters[self.at..];
        let word: Vec<char> =
            rest.iter().copied().take_while(|character| is_word(*character) && !is_unspaced(*character)).collect();
        self.at += word.len();
        word
    }

    /// The symbols that end a word: `++` or `#`, and nothing of the word after them.
    fn symbols(&mut self) -> &'static [char] {
        let ends = |next: Option<char>| !next.is_some_and(|next| is_word(next) || next == '+' || next == '#');
        let found: &[char] = match (self.peek(0), self.peek(1)) {
            (Some('+'), Some('+')) if self.peek(2).is_none_or(|next| next != '+') => &['+', '+'],
            (Some('#'), next) if ends(next) => &['#'],
            _ => &[],
        };
        self.at += found.len();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn what_is_meant_alike_is_folded_to_one() {
        for (written, meant) in [
            ("Café RÉSUMÉ naïve", "cafe resume naive"),
            ("tiếng Việt Đồng", "tieng viet dong"),
            ("Ångström über São Straße", "angstrom uber sao strasse"),
            ("İstanbul ISPARTA ılık", "istanbul isparta ilik"),
            ("Ｆｕｌｌ　Ｗｉｄｔｈ１２", "full width12"),
            ("ﾛｺﾞ", "ロゴ"),
            ("ΟΔΥΣΣΕΎΣ", "οδυσσευσ"),
            ("Ёлка мой", "елка мой"),
            ("أَحْمَد", "احمد"),
            ("שָׁלוֹם", "שלום"),
            ("O’Brien “x” – y", "o'brien \"x\" - y"),
            ("co\u{AD}operate می\u{200C}خواهم", "cooperate ميخواهم"),
            ("١٢٣ १२", "123 12"),
            ("한국어", "한국어"),
        ] {
            assert_eq!(fold(written), meant);
            assert_eq!(fold(&fold(written)), meant, "folding again changes nothing");
        }
        assert_ne!(fold("か"), fold("が"), "voicing is another sound");
        assert_ne!(fold("कि"), fold("क"), "a vowel is no accent");
    }

    #[test]
    fn the_short_ways_say_what_the_tables_say() {
        for character in (0..128_u8).map(char::from) {
            assert_eq!(is_word(character), character.is_alphanumeric() || is_of_words(character), "{character:?}");
        }
        let ascii: String = (0..128_u8).map(char::from).collect();
        let marks = "e\u{301} \u{301}e\u{306} и\u{306}\t\u{306}и x\u{327}\u{301}\n\u{308}o";
        let mixed = "Plain Café `x` ﬁne\u{A0}İs\u{3000}Ｆull \u{AD}so und Straße \u{1100}\u{1161} \u{11A8}";
        for text in [ascii.as_str(), marks, mixed, "", " ", "\u{301}"] {
            assert_eq!(fold(text), fold_any(text), "{text:?}");
        }
    }

    #[test]
    fn words_keep_the_symbols_that_make_them_others() {
        assert_eq!(words("C++, C# (C) and F#!"), ["c++", "c#", "c", "and", "f#"]);
        assert_eq!(words(".NET"), [".net", "net"]);
        assert_eq!(words("issue#5 a+b 1+1 c++17"), ["issue", "5", "a", "b", "1", "1", "c++", "17"]);
        assert_eq!(words("Notepad++"), ["notepad", "notepad++"]);
        assert_eq!(words("end. Next...then"), ["end", "next", "then"]);
    }

    #[test]
    fn the_parts_of_a_compound_follow_each_other_and_stand_together_too() {
        assert_eq!(words("Node.js"), ["node", "js", "nodejs"]);
        assert_eq!(words("full-stack"), words("full–stack"));
        assert_eq!(words("o’brien"), ["o", "brien", "obrien"]);
        assert_eq!(words("v1.2 1,000"), ["v1", "2", "1", "000"]);
        let places: Vec<u32> = tokens("e-mail now").iter().map(|token| token.place).collect();
        assert_eq!(places, [0, 1, 0, 2]);
    }

    #[test]
    fn scripts_without_spaces_become_pairs_and_single_characters() {
        assert_eq!(words("ロゴ"), ["ロ", "ロゴ", "ゴ"]);
        assert_eq!(words("Reactで"), ["react", "で"]);
        let chunks = chunks("reactアプリ x");
        let sequence: Vec<(&str, u32)> =
            chunks[0].sequence.iter().map(|token| (token.text.as_str(), token.place)).collect();
        assert_eq!(sequence, [("react", 0), ("アプ", 1), ("プリ", 2)]);
        assert_eq!(chunks.len(), 2);
        assert_eq!(super::chunks("a(b c/d e-f").len(), 5, "what is no joint parts them");
        for text in ["แปลเอกสารภาษาไทย", "대한민국", "中文网站", "ភាសាខ្មែរ", "မြန်မာစာ", "ພາສາລາວ"]
        {
            let count = fold(text).chars().count();
            assert_eq!(tokens(text).len(), count * 2 - 1, "{text}");
        }
        assert_eq!(words("हिन्दी में"), ["हिन्दी", "में"], "a word keeps its marks");
    }

    #[test]
    fn a_token_is_bounded() {
        assert_eq!(words(&"x".repeat(10_000))[0].len(), MOST_LETTERS);
        assert!(tokens("").is_empty() && tokens("🦊 -- ... '").is_empty());
    }
}

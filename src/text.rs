//! Texts that people write: what is accepted, and in which form it is kept.
//!
//! Owns the rules for every free text of the API. A text is kept as given but for Unicode normalisation (NFC, UAX #15),
//! so that equal-looking texts are equal; length is counted in characters. What a page does with a text is the page's
//! affair: nothing here is ever markup.
//!
//! Refused are
//! - control characters (a line feed and a tab may stand in multi-line texts), and code points that are no characters;
//! - the bidirectional controls that make text read as something else (UAX #9; CVE-2021-42574);
//! - a text that shows nothing: of blanks, fillers, format characters and marks without a letter. Private and unassigned
//!   code points do not count as shown, since nobody can know;
//! - text hidden in a text: tag characters but for those of a flag, annotations, and more than [`MOST_HIDDEN`] characters
//!   in a row that do not show. Joiners inside words and emoji, variation selectors and soft hyphens stay.

use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed,
    props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, NoncharacterCodePoint},
};
use unicode_normalization::UnicodeNormalization;

use crate::error::Invalid;

/// Names an enum's values as the API, the database and JSON all spell them.
#[macro_export]
macro_rules! named_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of the API.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Reads back what [`Self::as_str`] wrote into a column.
            pub fn from_column(text: &str) -> Result<Self, $crate::error::InternalError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err($crate::error::InternalError::corrupt(format!(concat!(stringify!($name), " {:?}"), other))),
                }
            }
        }
    };
}

/// What a text may be.
#[derive(Clone, Copy, Debug)]
pub struct TextRule {
    /// Fewest characters, after trimming white space around it.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// Whether it may have lines.
    pub multiline: bool,
}

/// A job's title.
pub const TITLE: TextRule = TextRule { min: 3, max: 140, multiline: false };
/// A job's description.
pub const DESCRIPTION: TextRule = TextRule { min: 1, max: 20_000, multiline: true };
/// A note on a deliverable or a revision.
pub const NOTE: TextRule = TextRule { min: 1, max: 5_000, multiline: true };
/// A reason given with a step.
pub const REASON: TextRule = TextRule { min: 1, max: 500, multiline: true };
/// A message in a conversation.
pub const MESSAGE: TextRule = TextRule { min: 1, max: 4_000, multiline: true };
/// A person's name.
pub const DISPLAY_NAME: TextRule = TextRule { min: 1, max: 80, multiline: false };
/// The name of a skill.
pub const SKILL_NAME: TextRule = TextRule { min: 1, max: 60, multiline: false };
/// Where a withdrawal goes.
pub const DESTINATION: TextRule = TextRule { min: 1, max: 200, multiline: false };
/// The words of a search.
pub const SEARCH: TextRule = TextRule { min: 0, max: 200, multiline: false };

/// How many characters that do not show may follow each other: an emoji of two parts has a selector and a joiner.
const MOST_HIDDEN: usize = 3;

/// The longest name of a region in the flag of one (`gbeng`), and one more.
const MOST_TAGS: usize = 6;

const CATEGORIES: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapData::<GeneralCategory>::new();
const HIDDEN: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
const NO_CHARACTERS: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<NoncharacterCodePoint>();

/// Letters, digits, punctuation and symbols.
const SHOWN: GeneralCategoryGroup = GeneralCategoryGroup::Letter
    .union(GeneralCategoryGroup::Number)
    .union(GeneralCategoryGroup::Punctuation)
    .union(GeneralCategoryGroup::Symbol);

/// What words are made of, in any script.
const OF_WORDS: GeneralCategoryGroup =
    GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::Mark).union(GeneralCategoryGroup::Number);

/// Letters and symbols by their category, and blank: an empty pattern of Braille, the place of an object, blank
/// hieroglyphs, and a note without a head.
const BLANK: [char; 5] = ['\u{2800}', '\u{FFFC}', '\u{13441}', '\u{13442}', '\u{1D159}'];

/// Whether a character may stand in a word of some script, and shows there.
pub fn is_of_words(character: char) -> bool {
    OF_WORDS.contains(CATEGORIES.get(character)) && !is_hidden(character)
}

/// Whether something is seen where it stands alone.
fn shows(character: char) -> bool {
    SHOWN.contains(CATEGORIES.get(character)) && !is_hidden(character)
}

/// Whether a character leaves no trace where it stands.
pub fn is_hidden(character: char) -> bool {
    HIDDEN.contains(character) || BLANK.contains(&character)
}

impl TextRule {
    /// Accepts `text` as the value of `input.<field>`, normalised and trimmed.
    pub fn parse(self, field: &str, text: &str) -> Result<String, Invalid> {
        // Four bytes a character at most: a bound before any work is done on it.
        if text.len() > self.max * 4 + 64 {
            return Err(self.too_long(field));
        }
        let text: String = text.nfc().collect();
        let text = text.trim();
        if let Some(bad) = text.chars().find(|character| !self.accepts(*character)) {
            let code = u32::from(bad);
            return Err(Invalid::value(field, format_args!("holds the control character U+{code:04X}; remove it")));
        }
        if let Some(bad) = hides(text) {
            let code = u32::from(bad);
            return Err(Invalid::value(field, format_args!("holds invisible text at U+{code:04X}; remove it")));
        }
        let length = text.chars().count();
        if length > self.max {
            return Err(self.too_long(field));
        }
        if self.min > 0 && length == 0 {
            return Err(Invalid::value(field, "must not be empty"));
        }
        if self.min > 0 && !text.chars().any(shows) {
            return Err(Invalid::value(field, "must show something: there is no visible character in it"));
        }
        if text.chars().filter(|character| !is_hidden(*character)).count() < self.min {
            return Err(Invalid::value(field, format_args!("must have at least {} characters", self.min)));
        }
        Ok(text.to_owned())
    }

    fn too_long(self, field: &str) -> Invalid {
        Invalid::value(field, format_args!("must have at most {} characters; shorten it", self.max))
    }

    fn accepts(self, character: char) -> bool {
        match character {
            '\n' | '\t' | '\r' => self.multiline,
            // Directions, lines, shapes by command, annotations.
            '\u{061C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2066}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' => false,
            other => !other.is_control() && !NO_CHARACTERS.contains(other),
        }
    }
}

/// Where a text is hidden in a text.
fn hides(text: &str) -> Option<char> {
    // Characters in a row that do not show, and how many tags the flag has that is being read.
    let (mut hidden, mut flag) = (0, None);
    for character in text.chars() {
        let mut run = 0;
        flag = match (character, flag) {
            ('\u{1F3F4}', None | Some(0)) => Some(0),
            ('\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}', Some(tags)) if tags < MOST_TAGS => Some(tags + 1),
            ('\u{E007F}', Some(1..)) => None,
            ('\u{E0000}'..='\u{E007F}', _) | (_, Some(1..)) => return Some(character),
            (other, None | Some(0)) => {
                run = if HIDDEN.contains(other) { hidden + 1 } else { 0 };
                None
            }
        };
        hidden = run;
        if hidden > MOST_HIDDEN {
            return Some(character);
        }
    }
    // A flag that has no end.
    flag.filter(|tags| *tags > 0).map(|_| '\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_normalised_trimmed_and_bounded() {
        assert_eq!(TITLE.parse("title", "  Cafe\u{301} logo ").as_deref(), Ok("Café logo"));
        assert_eq!(TITLE.parse("title", &"é".repeat(140)).map(|title| title.chars().count()), Ok(140));
        for (bad, word) in [
            ("", "empty"),
            ("   ", "empty"),
            ("ab", "at least 3"),
            ("ab\u{200B}\u{200B}", "at least 3"),
            ("abc\u{0}", "U+0000"),
            ("abc\u{202E}cba", "U+202E"),
            ("abc\u{206A}cba", "U+206A"),
            ("abc\u{FFF9}cba", "U+FFF9"),
            ("abc\u{FDD0}cba", "U+FDD0"),
            ("abc\u{10FFFF}cba", "U+10FFFF"),
            ("one\ntwo", "U+000A"),
        ] {
            assert!(TITLE.parse("title", bad).expect_err(bad).message.contains(word), "{bad:?}");
        }
        assert!(TITLE.parse("title", &"x".repeat(141)).expect_err("long").message.contains("140"));
        assert!(TITLE.parse("title", &"x".repeat(1_000_000)).is_err());
        assert!(NOTE.parse("note", "one\ntwo").is_ok());
        assert_eq!(SEARCH.parse("query", " ").as_deref(), Ok(""));
    }

    #[test]
    fn what_shows_nothing_is_no_text() {
        for invisible in [
            "\u{200B}",
            "\u{200C}\u{200D}",
            "\u{AD}",
            "\u{2060}\u{2063}",
            "\u{3164}",
            "\u{115F}\u{1160}",
            "\u{FFA0}",
            "\u{2800}\u{2800}",
            "\u{FE0F}",
            "\u{E0100}",
            "\u{180E}",
            "\u{34F}",
            "\u{17B4}",
            "\u{301}\u{302}",
            "\u{20DD}",
            "\u{A0}\u{2003}\u{202F}\u{3000}\u{1680}",
            " \u{3164} \u{2800} ",
            "\u{FFFC}",
            "\u{1D159}",
            "\u{1D173}",
            "\u{13441}",
            "\u{E000}",
            "\u{F0000}",
            "\u{378}",
        ] {
            for rule in [DISPLAY_NAME, NOTE, REASON, DESCRIPTION, DESTINATION, TITLE] {
                let refused = rule.parse("text", &invisible.repeat(3)).expect_err(invisible).message;
                let words = ["show something", "not be empty", "invisible text"];
                assert!(words.iter().any(|word| refused.contains(word)), "{invisible:?}: {refused}");
            }
        }
    }

    #[test]
    fn joiners_and_selectors_stay_where_they_belong() {
        for kept in [
            "می\u{200C}خواهم",
            "क्\u{200D}ष और क्\u{200C}ष",
            "👩\u{200D}💻 👁\u{FE0F}\u{200D}🗨\u{FE0F} ❤\u{FE0F}\u{200D}🔥 1\u{FE0F}\u{20E3}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F} fans and a 🏴 flag",
            "🏴\u{200D}☠\u{FE0F} pirates",
            "ภาษา\u{200B}ไทย",
            "co\u{AD}operate",
            "葛\u{E0100}飾区",
            "काम",
            "© ½ → …",
            "ᠮᠣᠩ\u{180B}ᠭᠣᠯ",
        ] {
            assert_eq!(TITLE.parse("title", kept).as_deref(), Ok(kept), "{kept:?}");
        }
    }

    #[test]
    fn no_text_is_hidden_in_a_text() {
        let tags: String = "ignore".chars().filter_map(|letter| char::from_u32(0xE0000 + u32::from(letter))).collect();
        for bad in [
            format!("A plain job{tags}"),
            format!("A flag 🏴{tags}{tags}\u{E007F}"),
            format!("A flag without an end 🏴{tags}"),
            format!("A flag that goes on 🏴{tags} and on"),
            "An end without a flag \u{E007F}".to_owned(),
            "A word\u{200B}\u{200C}\u{200B}\u{200C} in bits".to_owned(),
            "A letter a\u{FE00}\u{FE01}\u{E0102}\u{E0103}".to_owned(),
        ] {
            let refused = DESCRIPTION.parse("description", &bad).expect_err(&bad).message;
            assert!(refused.contains("invisible text"), "{bad:?}: {refused}");
        }
    }

    #[test]
    fn words_are_of_letters_marks_and_digits_that_show() {
        assert!("aéÜ漢कि٣ß".chars().all(is_of_words));
        assert!(!"\u{3164}\u{200D} @,。\u{E000}\u{FFFD}".chars().any(is_of_words));
    }
}

//! Texts that people write: what is accepted, and in which form it is kept.
//!
//! Owns the rules for every free text of the API. A text is kept as given but for Unicode normalisation (NFC, UAX #15),
//! so that equal-looking texts are equal; length is counted in characters. Refused are control characters (a line feed
//! and a tab may stand in multi-line texts) and the bidirectional controls that make text read as something else
//! (UAX #9; CVE-2021-42574). What a page does with a text is the page's affair: nothing here is ever markup.

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
            pub fn from_column(text: &str) -> Result<Self, $crate::error::Fault> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err($crate::error::Fault::corrupt(format!(concat!(stringify!($name), " {:?}"), other))),
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
/// A person's name.
pub const DISPLAY_NAME: TextRule = TextRule { min: 1, max: 80, multiline: false };
/// Where a withdrawal goes.
pub const DESTINATION: TextRule = TextRule { min: 1, max: 200, multiline: false };
/// The words of a search.
pub const SEARCH: TextRule = TextRule { min: 0, max: 200, multiline: false };

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
        let length = text.chars().count();
        if length > self.max {
            return Err(self.too_long(field));
        }
        if length < self.min {
            let min = self.min;
            return Err(if length == 0 {
                Invalid::value(field, "must not be empty")
            } else {
                Invalid::value(field, format_args!("must have at least {min} characters"))
            });
        }
        Ok(text.to_owned())
    }

    fn too_long(self, field: &str) -> Invalid {
        Invalid::value(field, format_args!("must have at most {} characters; shorten it", self.max))
    }

    fn accepts(self, character: char) -> bool {
        match character {
            '\n' | '\t' | '\r' => self.multiline,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => {
                false
            }
            other => !other.is_control(),
        }
    }
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
            ("abc\u{0}", "U+0000"),
            ("abc\u{202E}cba", "U+202E"),
            ("one\ntwo", "U+000A"),
        ] {
            assert!(TITLE.parse("title", bad).expect_err(bad).message.contains(word), "{bad:?}");
        }
        assert!(TITLE.parse("title", &"x".repeat(141)).expect_err("long").message.contains("140"));
        assert!(TITLE.parse("title", &"x".repeat(1_000_000)).is_err());
        assert!(NOTE.parse("note", "one\ntwo").is_ok());
    }
}

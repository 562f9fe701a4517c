//! Where in its text a thing stands: from the byte offsets of the parser to the lines and columns of errors.
//!
//! Owns the index over one text. A document on a single line of 256 KiB may hold a thousand fields, each of which has a
//! position, so a column is not counted from the start of its line: the characters before every 64th byte are counted
//! once. Made by [`super::Language::read`] for one document.

use async_graphql::Pos;
use bluejay_parser::{HasSpan, Span};

/// Bytes between two entries of the index.
const STEP: usize = 64;

/// A text with an index over its lines and characters.
pub(super) struct Source<'a> {
    text: &'a str,
    /// The offset of each line's first byte.
    lines: Vec<usize>,
    /// How many characters begin before each multiple of [`STEP`].
    characters: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let ends_line = |at: usize| match bytes[at] {
            b'\n' => true,
            // `\r\n` is one end.
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        let lines = std::iter::once(0).chain((0..bytes.len()).filter(|at| ends_line(*at)).map(|at| at + 1)).collect();
        let mut characters = vec![0];
        for chunk in bytes.chunks(STEP) {
            let before = characters.last().copied().unwrap_or_default();
            characters.push(before + count(chunk));
        }
        Self { text, lines, characters }
    }

    /// The text itself.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The place where something begins; lines and columns count from 1, columns in characters.
    pub(super) fn start(&self, what: &impl HasSpan) -> Pos {
        self.at(offset(*what.span()))
    }

    /// The place of a byte.
    pub(super) fn at(&self, offset: usize) -> Pos {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        Pos { line, column: self.characters_before(offset) - self.characters_before(start) + 1 }
    }

    fn characters_before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let whole = offset / STEP;
        let counted = self.characters.get(whole).copied().unwrap_or_default();
        counted + count(&self.text.as_bytes()[whole * STEP..offset])
    }
}

/// The first byte of a span.
pub(super) fn offset(span: Span) -> usize {
    span.byte_range().start
}

/// How many characters begin in these bytes.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let long = format!("{}é{{", "ü".repeat(200));
        for (text, offset, line, column) in [
            ("abc", 0, 1, 1),
            ("abc", 2, 1, 3),
            ("a\nb", 2, 2, 1),
            ("a\r\nb", 3, 2, 1),
            ("a\rb", 2, 2, 1),
            ("é{", 2, 1, 2),
            ("\n\n  x", 4, 3, 3),
            (&long, long.len() - 1, 1, 202),
            ("abc", 3, 1, 4),
        ] {
            assert_eq!(Source::new(text).at(offset), Pos { line, column }, "{text:?} {offset}");
        }
    }
}

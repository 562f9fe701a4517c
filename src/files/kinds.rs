//! Which types of files are taken, and whether bytes are of the type that was promised. Pure.
//!
//! What is not in the list is not taken: no programs, no scripts, nothing that a browser runs (HTML, SVG, XML). The bytes are
//! looked at as they pass ([`Look`]): what `infer` makes of their beginning must be the promised type, or nothing at all for
//! a text, which must be UTF-8 from its first byte to its last. Then what is a second type in the first is refused: a ZIP
//! behind a picture, a PDF or a page in its beginning or end. That is no proof that there is none; so files are handed out as
//! attachments that no browser runs.

/// Of the beginning so much is looked at, in bytes: as far as readers look for a PDF or a page.
const HEAD: usize = 8 * 1024;
/// Of the end: as far as a ZIP's own list may lie before it.
const TAIL: usize = 64 * 1024 + 22;
/// Readers find a PDF that begins within so many bytes.
const PDF_WITHIN: usize = 1024;

/// What begins a page or a program in a page, in lower case.
const MARKUP: &[&[u8]] =
    &[b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<svg", b"<iframe", b"<?php", b"<?xml"];

/// How the bytes of a type are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// By their beginning.
    Binary,
    /// The same, as one of an office's files, which is a ZIP.
    Office,
    /// A ZIP of anything.
    Archive,
    /// By being UTF-8.
    Text,
}

/// A type that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Its media type.
    pub(super) name: &'static str,
    /// How names of such files end, in lower case.
    pub(super) endings: &'static [&'static str],
    form: Form,
}

const fn kind(name: &'static str, endings: &'static [&'static str], form: Form) -> Kind {
    Kind { name, endings, form }
}

const KINDS: &[Kind] = &[
    kind("image/png", &["png"], Form::Binary),
    kind("image/jpeg", &["jpg", "jpeg"], Form::Binary),
    kind("image/gif", &["gif"], Form::Binary),
    kind("image/webp", &["webp"], Form::Binary),
    kind("application/pdf", &["pdf"], Form::Binary),
    kind("application/zip", &["zip"], Form::Archive),
    kind("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx"], Form::Office),
    kind("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &["xlsx"], Form::Office),
    kind("application/vnd.openxmlformats-officedocument.presentationml.presentation", &["pptx"], Form::Office),
    kind("audio/mpeg", &["mp3"], Form::Binary),
    kind("video/mp4", &["mp4"], Form::Binary),
    kind("text/plain", &["txt", "log"], Form::Text),
    kind("text/markdown", &["md"], Form::Text),
    kind("text/csv", &["csv"], Form::Text),
];

/// Endings by which systems run a file or a browser does.
const PROGRAMS: &[&str] = &[
    "app", "apk", "asp", "aspx", "bat", "cgi", "cmd", "com", "cpl", "dll", "dmg", "exe", "hta", "htm", "html", "jar",
    "js", "jse", "jsp", "lnk", "mht", "mhtml", "mjs", "msi", "php", "phtml", "pif", "pl", "ps1", "py", "rb", "reg",
    "scr", "sh", "svg", "svgz", "swf", "url", "vb", "vbe", "vbs", "wsf", "xhtml", "xml",
];

/// The type of this name, whatever its case.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name.trim()))
}

/// All that are taken, as a sentence lists them.
pub(super) fn names() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// Whether a name with this ending is one of a program.
pub(super) fn runs(ending: &str) -> bool {
    PROGRAMS.iter().any(|program| program.eq_ignore_ascii_case(ending))
}

/// Looks at bytes as they pass. Keeps about 200 KiB, whatever the size.
#[derive(Debug)]
pub(super) struct Look {
    head: Vec<u8>,
    tail: Vec<u8>,
    text: Text,
}

/// Whether all so far is UTF-8 without controls.
#[derive(Debug)]
enum Text {
    /// With the beginning of a character that is not whole yet.
    Yes(Vec<u8>),
    No,
}

impl Look {
    pub(super) fn begin() -> Self {
        Self { head: Vec::new(), tail: Vec::new(), text: Text::Yes(Vec::new()) }
    }

    /// The next bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        let Text::Yes(rest) = &mut self.text else { return };
        let mut joined = std::mem::take(rest);
        joined.extend_from_slice(bytes);
        self.text = match std::str::from_utf8(&joined) {
            Ok(text) => Text::of(text, &[]),
            Err(error) => {
                let (valid, rest) = joined.split_at(error.valid_up_to());
                match (std::str::from_utf8(valid), error.error_len()) {
                    (Ok(text), None) => Text::of(text, rest),
                    _ => Text::No,
                }
            }
        };
    }

    /// Why the bytes are not of this type and of no other, once all have passed; reads on after "the file is refused:".
    pub(super) fn check(&self, kind: &Kind) -> Result<(), String> {
        let other = || Err(format!("its bytes are not {}", kind.name));
        let found = infer::get(&self.head);
        let name = found.map(|found| found.mime_type());
        match kind.form {
            Form::Binary | Form::Archive if name != Some(kind.name) => return other(),
            // A tool may write its parts in another order than those that `infer` knows.
            Form::Office => {
                let is_zip = self.head.starts_with(b"PK\x03\x04");
                let lists_types = contains(&self.head, b"[Content_Types].xml");
                if name != Some(kind.name) && !(is_zip && name == Some("application/zip") && lists_types) {
                    return other();
                }
            }
            Form::Text => {
                // Some types are known by two letters, with which a text may begin; none of them is UTF-8 without controls.
                let is_markup = found.is_some_and(|found| found.matcher_type() == infer::MatcherType::Text);
                let is_text = matches!(&self.text, Text::Yes(rest) if rest.is_empty());
                if !is_text || is_markup || self.begins_like_a_page() {
                    return other();
                }
            }
            Form::Binary | Form::Archive => {}
        }
        let is_archive = matches!(kind.form, Form::Archive | Form::Office);
        if !is_archive && ends_a_zip(&self.tail) {
            return Err("it is a ZIP as well".to_owned());
        }
        let is_pdf = kind.name == "application/pdf";
        if is_pdf && !self.head.starts_with(b"%PDF-") {
            return other();
        }
        if !is_pdf && !is_archive && contains(&self.head[..self.head.len().min(PDF_WITHIN)], b"%PDF-") {
            return Err("it is a PDF as well".to_owned());
        }
        if kind.form == Form::Binary && !is_pdf {
            let ends = [&self.head, &self.tail].map(|end| end.to_ascii_lowercase());
            if MARKUP.iter().any(|mark| ends.iter().any(|end| contains(end, mark))) {
                return Err("there is a page or a script in it".to_owned());
            }
        }
        Ok(())
    }

    /// A text that a browser or a shell would run: markup, or the line that names an interpreter.
    fn begins_like_a_page(&self) -> bool {
        let text = self.head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.head).trim_ascii_start();
        let named = text.to_ascii_lowercase();
        named.starts_with(b"#!")
            || named.starts_with(b"%!")
            || MARKUP.iter().any(|mark| named.starts_with(mark))
            || named.starts_with(b"<!--")
    }
}

impl Text {
    fn of(text: &str, rest: &[u8]) -> Self {
        let may = |letter: char| !letter.is_control() || "\t\n\r\u{c}".contains(letter);
        if text.chars().all(may) { Self::Yes(rest.to_vec()) } else { Self::No }
    }
}

/// Whether a ZIP ends here: its last record, with one disk and as many entries on it as in all.
fn ends_a_zip(tail: &[u8]) -> bool {
    tail.windows(22)
        .any(|record| record.starts_with(b"PK\x05\x06") && record[4..8] == [0; 4] && record[8..10] == record[10..12])
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn check(name: &str, parts: &[&[u8]]) -> Result<(), String> {
        let mut look = Look::begin();
        for part in parts {
            look.pass(part);
        }
        look.check(find(name).expect("a type"))
    }

    #[test]
    fn bytes_are_of_the_promised_type_or_refused() {
        check("image/png", &[PNG]).expect("a picture");
        check("IMAGE/PNG", &[&PNG[..5], &PNG[5..]]).expect("in parts");
        check("application/pdf", &[b"%PDF-1.7\n%\xe2\xe3\n", b"%%EOF"]).expect("a document");
        check("image/gif", &[b"GIF89a\x01\0\x01\0\0\0\0;"]).expect("a picture");
        check("application/zip", &[b"PK\x03\x04", &[0; 40], EMPTY_ZIP]).expect("an archive");
        for (name, bytes) in [
            ("image/jpeg", PNG),
            ("image/png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ("image/png", b"MZ\x90\0"),
            ("application/pdf", b"\n%PDF-1.7"),
            ("application/zip", PNG),
            ("text/plain", PNG),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", PNG),
        ] {
            assert!(check(name, &[bytes]).expect_err("refused").starts_with("its bytes are not "), "{name} {bytes:?}");
        }
    }

    #[test]
    fn a_text_is_utf8_and_nothing_that_is_run() {
        for text in ["a,b\r\n1,2\n", "BMW and PKW", "\u{feff}caf\u{e9}", "1 < 2 and <b>", "Use `<script>` with care."] {
            check("text/plain", &[text.as_bytes()]).expect(text);
        }
        // A character of two bytes, cut in its middle.
        check("text/plain", &[b"\xc3", b"\xa9"]).expect("whole in the end");
        for text in [
            &b"\xc3"[..],
            b"a\xff",
            b"a\0b",
            b"#!/bin/sh\nrm -rf x",
            b"  <!DOCTYPE html><p>",
            b"\xef\xbb\xbf<html>",
            b"<?xml version='1.0'?>",
            b"<SVG onload=x>",
            b"<script>x</script>",
            b"\x7fELF",
        ] {
            check("text/plain", &[text]).expect_err("refused");
        }
    }

    #[test]
    fn a_second_type_in_the_first_is_refused() {
        let behind = |bytes: &'static [u8]| check("image/png", &[PNG, &vec![7; 3 * TAIL], bytes]);
        behind(b"IEND").expect("no other type");
        assert_eq!(behind(EMPTY_ZIP), Err("it is a ZIP as well".into()));
        assert_eq!(behind(b"<ScRiPt>alert(1)</script>"), Err("there is a page or a script in it".into()));
        assert_eq!(check("image/png", &[PNG, b"%PDF-1.4"]), Err("it is a PDF as well".into()));
        assert_eq!(check("application/pdf", &[b"%PDF-1.4\n", EMPTY_ZIP]), Err("it is a ZIP as well".into()));
        assert_eq!(check("image/gif", &[b"GIF89a/*", b"<script>"]), Err("there is a page or a script in it".into()));
        check("text/plain", &[b"a text ", EMPTY_ZIP]).expect_err("refused");
    }
}

//! A file, and what may be reserved for one. Pure.

use uuid::Uuid;

use super::kinds::{self, Kind};
use crate::{
    clock::Timestamp,
    error::{Invalid, InvalidKind},
    ids::{FileId, UserId},
    named_enum,
    text::TextRule,
};

/// A file's name.
const NAME: TextRule = TextRule { min: 1, max: 200, multiline: false };
/// What systems read as more than a part of a name.
const SPECIAL: &[char] = &['/', '\\', ':', '*', '?', '"', '<', '>', '|'];
/// Files that one thing may have.
pub const MOST: usize = 10;

named_enum! {
    /// Where a file is in its life.
    pub enum FileStatus {
        /// Its bytes have yet to come.
        Pending = "PENDING",
        /// Its bytes are there, and are what was promised.
        Ready = "READY",
        /// Its bytes were refused.
        Rejected = "REJECTED",
    }
}

named_enum! {
    /// What files are used for.
    pub enum Use {
        /// Work that is handed in.
        Deliverable = "DELIVERABLE",
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Which.
    pub id: FileId,
    /// Who has uploaded it.
    pub owner_id: UserId,
    /// Without a folder; ends as files of its type do.
    pub name: String,
    /// One of those that are taken, as a media type.
    pub content_type: String,
    /// In bytes, 1 to 2,147,483,647.
    pub byte_size: i64,
    /// Of its bytes, in lower-case hexadecimal digits.
    pub sha256: String,
    /// Where it is in its life.
    pub status: FileStatus,
    /// Why it was refused.
    pub rejection: Option<String>,
    /// When it was reserved.
    pub created_at: Timestamp,
    /// Uploads that were begun.
    pub attempt: i32,
    /// Until when the last of them may go on, unless it has ended.
    pub leased_until: Option<Timestamp>,
    /// What uses it. Something that a later version knows is some use as well.
    pub used_by: Option<Uuid>,
}

impl File {
    /// Why this file of somebody cannot be used at `place` of a list of files; `None` if it can. In the same words for one
    /// that is not theirs as for none.
    pub fn check_use(file: Option<&Self>, owner: UserId, place: usize) -> Result<&Self, Invalid> {
        let field = format!("fileIds.{place}");
        let Some(file) = file.filter(|file| file.owner_id == owner) else { return Err(missing(place)) };
        match file.status {
            FileStatus::Pending => {
                Err(Invalid::value(&field, "is a file whose bytes have not come yet: PUT them to its target first"))
            }
            FileStatus::Rejected => {
                let why = file.rejection.as_deref().unwrap_or("it was not accepted");
                let message = format!("This file was refused: {why}. Upload another one.");
                Err(Invalid::new(InvalidKind::FileRejected, message, &field))
            }
            FileStatus::Ready if file.used_by.is_some() => {
                Err(Invalid::value(&field, "is a file that was used before: each is used once. Upload it again"))
            }
            FileStatus::Ready => Ok(file),
        }
    }
}

/// A file that is not there, or not for this caller.
pub(super) fn missing(place: usize) -> Invalid {
    Invalid::not_found(&format!("fileIds.{place}"), "file")
}

/// A list of files for one thing: at most [`MOST`], each once.
pub fn parse_ids(ids: &[String]) -> Result<Vec<FileId>, Invalid> {
    if ids.len() > MOST {
        return Err(Invalid::value("fileIds", format_args!("must name at most {MOST} files")));
    }
    let mut files: Vec<FileId> = Vec::with_capacity(ids.len());
    for (place, id) in ids.iter().enumerate() {
        let id = id.parse().map_err(|_| missing(place))?;
        if files.contains(&id) {
            return Err(Invalid::value(&format!("fileIds.{place}"), "names a file for the second time"));
        }
        files.push(id);
    }
    Ok(files)
}

/// What a file is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub(super) name: String,
    pub(super) kind: &'static Kind,
    pub(super) byte_size: i64,
    pub(super) sha256: String,
}

/// The same as it was asked for.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// What it is called.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// In bytes.
    pub byte_size: i32,
    /// Of its bytes, in hexadecimal digits.
    pub sha256: String,
}

impl NewFile {
    /// Accepts it where files may have so many bytes.
    pub fn parse(&self, most: u32) -> Result<Reservation, Invalid> {
        let kind = kinds::find(&self.content_type)
            .ok_or_else(|| Invalid::value("contentType", format_args!("must be one of {}", kinds::names())))?;
        let name = parse_name(&self.name, kind)?;
        let byte_size = i64::from(self.byte_size);
        if !(1..=i64::from(most)).contains(&byte_size) {
            return Err(Invalid::value("byteSize", format_args!("must be between 1 and {most} bytes")));
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Invalid::value("sha256", "must be the SHA-256 of the bytes, as 64 hexadecimal digits"));
        }
        Ok(Reservation { name, kind, byte_size, sha256: self.sha256.to_ascii_lowercase() })
    }
}

/// A name for a file of this type: without a folder, without what systems read as more than a name, and with an ending that
/// tells the truth, in its middle as well.
fn parse_name(name: &str, kind: &Kind) -> Result<String, Invalid> {
    let name = NAME.parse("name", name)?;
    if let Some(special) = name.chars().find(|letter| SPECIAL.contains(letter)) {
        return Err(Invalid::value("name", format_args!("must be a name without a folder and without {special}")));
    }
    if name.starts_with('.') || name.ends_with('.') {
        return Err(Invalid::value("name", "must not begin or end with a dot"));
    }
    let mut parts = name.rsplit('.');
    let ending = parts.next().unwrap_or_default().to_lowercase();
    let parts: Vec<&str> = parts.collect();
    if parts.is_empty() || !kind.endings.contains(&ending.as_str()) {
        let endings = kind.endings.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(" or ");
        return Err(Invalid::value("name", format_args!("must end in {endings}, as files of its contentType do")));
    }
    // The first part is a name and no ending.
    let inner = parts.split_last().map(|(_, inner)| inner).unwrap_or_default();
    if let Some(lies) = inner.iter().find(|part| kinds::runs(part.trim())) {
        return Err(Invalid::value("name", format_args!("must not have .{lies} in it: that is a program's ending")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, content_type: &str) -> Result<String, String> {
        let (name, content_type) = (name.to_owned(), content_type.to_owned());
        let new = NewFile { name, content_type, byte_size: 1, sha256: "Ab".repeat(32) };
        new.parse(1).map(|file| file.name).map_err(|invalid| invalid.message)
    }

    #[test]
    fn a_name_is_a_name_and_its_ending_is_that_of_its_type() {
        for name in ["a.png", "Plan v1.2 (final).PNG", "\u{fc}ber.png", "a.b.c.png"] {
            assert_eq!(named(name, "image/png").as_deref(), Ok(name));
        }
        assert_eq!(named("  a.png ", "image/png").as_deref(), Ok("a.png"));
        for name in [
            "../a.png",
            "..\\a.png",
            "/etc/a.png",
            "C:a.png",
            "..",
            ".png",
            "png",
            "a",
            "a.png.",
            "a.jpg",
            "a.png.exe",
            "a.exe.png",
            "a.PHP.png",
            "a.svg .png",
            "a\u{0}.png",
            "a\u{202e}gnp.png",
            "",
            "a\n.png",
            "a?.png",
        ] {
            assert!(named(name, "image/png").is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_promised_has_bounds() {
        let new = |byte_size, sha256: &str| NewFile {
            name: "a.png".into(),
            content_type: "image/png".into(),
            byte_size,
            sha256: sha256.into(),
        };
        let hash = "0".repeat(64);
        assert_eq!(new(10, &hash.replace('0', "A")).parse(10).expect("good").sha256, "a".repeat(64));
        for (size, hash) in
            [(0, hash.as_str()), (-1, &hash), (11, &hash), (1, ""), (1, &hash[1..]), (1, &"g".repeat(64))]
        {
            new(size, hash).parse(10).expect_err("refused");
        }
    }

    #[test]
    fn a_list_names_each_file_once() {
        let id = |digit: u128| FileId::from(Uuid::from_u128(digit)).to_string();
        assert_eq!(parse_ids(&[id(1), id(2)]).map(|ids| ids.len()), Ok(2));
        for ids in [vec![id(1), id(1)], vec!["job_1".into()], (0..11).map(id).collect()] {
            parse_ids(&ids).expect_err("refused");
        }
    }
}

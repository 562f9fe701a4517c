//! Links by which bytes come and go: a path of this server with an end and a signature, good for anybody who has it.
//!
//! The signature is an HMAC-SHA-256 over what may be done, with which file, and until when. Its key is derived from the
//! secret that all nodes share through the database, so every node takes every node's links. What a link promises beyond
//! that (size, type, hash) stands in the file's row, in columns that nothing changes. A link cannot be revoked: it is short.
//!
//! Invariant: nothing is read from the database for a link that is not ours or is over.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::{clock::Timestamp, error::InternalError, ids::FileId};

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// One `PUT` of the bytes.
    Upload,
    /// Any number of `GET`s.
    Download,
}

/// Why a link is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// It was not made here, or was changed.
    #[error("This link is not as it was given out. Use it whole and unchanged, by the method that it is for.")]
    Forged,
    /// Its time is over.
    #[error("This link is over. Ask for a new one: createUpload for uploads, File.downloadUrl for downloads.")]
    Over,
}

/// Makes and reads links. Clones share the key.
#[derive(Clone)]
pub struct Links {
    code: Hmac<Sha256>,
    base: String,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Links {
    /// Links that begin with `base`, which has no slash at its end.
    pub fn new(key: &[u8; 32], base: String) -> Result<Self, InternalError> {
        // HMAC takes keys of any length.
        let code = Hmac::new_from_slice(key).map_err(|_| InternalError::corrupt("the key of links"))?;
        Ok(Self { code, base })
    }

    /// A link that is good until `end`, in whole seconds.
    pub(super) fn make(&self, deed: Deed, file: FileId, end: Timestamp) -> String {
        let end = end.timestamp();
        let code = URL_SAFE_NO_PAD.encode(self.code(deed, file, end).finalize().into_bytes());
        format!("{}/files/{file}?expires={end}&signature={code}", self.base)
    }

    /// The file that a link is about: its last step, and what stands behind the `?`.
    pub(super) fn read(&self, deed: Deed, file: &str, query: &str, now: Timestamp) -> Result<FileId, BadLink> {
        let (mut end, mut signature) = (None, None);
        for part in query.split('&') {
            match part.split_once('=') {
                Some(("expires", text)) if end.is_none() => end = text.parse::<i64>().ok(),
                Some(("signature", text)) if signature.is_none() => signature = URL_SAFE_NO_PAD.decode(text).ok(),
                _ => return Err(BadLink::Forged),
            }
        }
        let (Ok(file), Some(end), Some(signature)) = (file.parse::<FileId>(), end, signature) else {
            return Err(BadLink::Forged);
        };
        self.code(deed, file, end).verify_slice(&signature).map_err(|_| BadLink::Forged)?;
        if now.timestamp() >= end { Err(BadLink::Over) } else { Ok(file) }
    }

    fn code(&self, deed: Deed, file: FileId, end: i64) -> Hmac<Sha256> {
        let mut code = self.code.clone();
        code.update(match deed {
            Deed::Upload => b"PUT",
            Deed::Download => b"GET",
        });
        code.update(Uuid::from(file).as_bytes());
        code.update(&end.to_be_bytes());
        code
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn a_link_is_good_whole_for_its_deed_and_until_its_end() {
        let links = Links::new(&[7; 32], "https://example.com".into()).expect("links");
        let (now, file) = (DateTime::UNIX_EPOCH + TimeDelta::days(20_000), FileId::from(Uuid::from_u128(5)));
        let link = links.make(Deed::Upload, file, now + TimeDelta::seconds(10));
        let (path, query) = link.split_once('?').expect("a query");
        let name = path.strip_prefix("https://example.com/files/").expect("the path");
        let read =
            |deed, name: &str, query: &str, later| links.read(deed, name, query, now + TimeDelta::seconds(later));
        assert_eq!(read(Deed::Upload, name, query, 9), Ok(file));
        assert_eq!(read(Deed::Upload, name, query, 10), Err(BadLink::Over));
        assert_eq!(read(Deed::Download, name, query, 0), Err(BadLink::Forged));
        let other = FileId::from(Uuid::from_u128(6)).to_string();
        assert_eq!(read(Deed::Upload, &other, query, 0), Err(BadLink::Forged));
        let longer = query.replacen("expires=1", "expires=2", 1);
        for query in [
            &longer,
            "",
            "expires=1",
            &query[..query.len() - 1],
            &format!("{query}&expires=1"),
            &format!("{query}&a=b"),
        ] {
            assert_eq!(read(Deed::Upload, name, query, 0), Err(BadLink::Forged), "{query}");
        }
        let strangers = Links::new(&[8; 32], "https://example.com".into()).expect("links");
        assert_eq!(strangers.read(Deed::Upload, name, query, now), Err(BadLink::Forged));
    }
}

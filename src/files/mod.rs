//! Files: what people hand over beside their words.
//!
//! Owns `files` and `file_quotas`, the folder with the bytes, and the signed links by which bytes come and go.
//! `createUpload` reserves ([`Files::create_upload`]): the row, the quota and a link for one `PUT`. [`Files::receive`] takes
//! the bytes into a stage, compares them with what was promised, and moves them to their place; `links` signs and reads
//! links; `kinds` says which types are taken and what bytes of them look like; `scanner` asks a virus scanner, if there is
//! one. Other domains use files by [`Files::attach_in`] in their own transactions, each once.
//!
//! A file is PENDING, then READY or REJECTED for good. Invariants:
//! - A row is READY only while its bytes lie in their place, whole and on the disk, with the size and hash of the row.
//! - Bytes that are not those that were promised change nothing: the link stays good. The promised bytes of a type that is
//!   not taken, or with a virus in them, make the file REJECTED. Where a scanner is set, nothing is READY that it has not
//!   passed.
//! - One upload of a file at a time, over all nodes: a lease in the row, which an attempt number guards.
//! - A user's quota is the sum of their rows: it is taken with the row and given back with it, in one transaction.
//! - Bytes without a row go: with the row's removal, and by a sweep for what a crash has left.
//!
//! Called by [`http`](crate::http) for bytes, by `claims` for the work that is handed in, and by the clock room for what
//! nobody uses. Knows no other domain.

pub mod entity;
pub mod error;
pub(crate) mod graphql;
mod kinds;
pub mod links;
pub mod model;
mod removal;
mod scanner;
pub mod service;
pub mod settings;
mod store;
pub mod upload;
pub mod verify;

pub use error::{FileError, UploadError};
pub use removal::{UnusedFiles, sweep};
pub use service::Files;

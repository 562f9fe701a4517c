//! What can go wrong with a file.

use std::io;

use sea_orm::DbErr;

use crate::{
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    faults_into,
};

/// Why a use case of files did nothing.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(FileError);

impl AsDbError for FileError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_) | Self::Invalid(_) => None,
        }
    }
}

/// Why bytes were not taken. Says what to do; safe to show to a person.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It was removed, or this server takes no files.
    #[error("There is no such file any more. Ask createUpload for a new one.")]
    NotFound,
    /// Its bytes have come.
    #[error("This file was uploaded already: pass its id on.")]
    Done,
    /// It was refused before.
    #[error("This file was refused: {0}. Ask createUpload for another one.")]
    Refused(String),
    /// Another request sends the same file.
    #[error("Another request is sending this file. Wait for its answer.")]
    Busy,
    /// The user sends as many files as one may at the same time.
    #[error("You are sending {0} files, as many as allowed at the same time. Wait for one of them.")]
    TooMany(u32),
    /// The node takes as many files as it may at the same time.
    #[error("This server is taking as many files as it can. Try again in a moment.")]
    Full,
    /// The head of the request does not say the size that was promised.
    #[error("Content-Length must be {0}, as was promised to createUpload.")]
    OtherSize(i64),
    /// The head of the request does not say the type that was promised.
    #[error("Content-Type must be {0}, as was promised to createUpload.")]
    OtherType(String),
    /// More bytes than promised.
    #[error("The body has more than the {0} bytes that were promised to createUpload.")]
    TooLong(i64),
    /// The connection ended, or the body did.
    #[error("The body broke off. Send the file again.")]
    BrokeOff,
    /// The body came too slowly, or took too long.
    #[error("The body came too slowly. Send the file again.")]
    TooSlow,
    /// The bytes are others than promised.
    #[error(
        "The SHA-256 of the body is {0}, which is not the one that was promised to createUpload. Send the file again."
    )]
    OtherHash(String),
    /// The promised bytes are not of their type, or have a virus.
    #[error("The file is refused: {0}. Ask createUpload for another one.")]
    Rejected(String),
    /// The scanner cannot be asked.
    #[error("Files cannot be checked right now. Send the file again in a while.")]
    NotScanned,
    /// The disk is full.
    #[error("There is no room for files right now. Send the file again in a while.")]
    DiskFull,
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(UploadError);

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => InternalError::Unavailable(format!("the folder of files: {error}")).into(),
        }
    }
}

impl AsDbError for UploadError {
    fn as_db_error(&self) -> Option<&DbErr> {
        if let Self::InternalError(error) = self { error.as_db_error() } else { None }
    }
}

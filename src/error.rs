//! The two kinds of failure that every domain shares.
//!
//! [`Invalid`] is the caller's to mend: it names the input and the fix and is shown as it is. [`InternalError`] is
//! ours: it is logged once at the boundary and masked outside, so that no SQL, path or type name ever reaches a client.
//! What a failure means is decided where it happens; nothing is ever classified by its text.

use std::borrow::Cow;

use sea_orm::{
    DbErr, RuntimeErr, SqlxError,
    sqlx::postgres::{PgDatabaseError, PgSeverity},
};

use crate::money::Overflow;

/// What an [`Invalid`] input is about, as the API's stable codes say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// The value is not acceptable.
    Value,
    /// The object does not exist, or not for this caller.
    NotFound,
    /// The caller may see it but may not do this with it.
    Forbidden,
    /// It has changed since the version that the caller decided on.
    VersionConflict,
    /// A freelancer's claim on their own job.
    OwnJob,
    /// An admin's settlement of their own deposit or withdrawal.
    OwnTransaction,
    /// A file whose bytes were refused.
    FileRejected,
    /// The address has an account already.
    EmailTaken,
    /// The email and the password do not belong together.
    InvalidCredentials,
}

/// An input that cannot be used. The message is a sentence for a person, the path says where in the variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Its code.
    pub kind: InvalidKind,
    /// What is wrong and how to mend it.
    pub message: String,
    /// From `input` down; empty when no single value is to blame.
    pub path: Vec<Cow<'static, str>>,
}

impl Invalid {
    /// A value at `input.<field>` that cannot be used; `why` reads on after the field's name.
    pub fn value(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(InvalidKind::Value, format!("{field} {why}."), field)
    }

    /// An object that is not there, or not there for this caller: the same words for both.
    pub fn not_found(field: &str, what: &str) -> Self {
        Self::new(InvalidKind::NotFound, format!("There is no such {what}. Check the id in {field}."), field)
    }

    /// Any kind, about `input.<field>`; dots in `field` separate the steps of the path.
    pub fn new(kind: InvalidKind, message: impl Into<String>, field: &str) -> Self {
        let steps = field.split('.').map(|step| Cow::Owned(step.to_owned()));
        Self { kind, message: message.into(), path: std::iter::once(Cow::Borrowed("input")).chain(steps).collect() }
    }
}

/// A state that cannot follow where something is: the table of states lacks the move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from:?} cannot become {to:?}")]
pub struct InvalidTransition<Status: std::fmt::Debug> {
    /// Where it is.
    pub from: Status,
    /// Where it should go.
    pub to: Status,
}

/// A failure that is nobody's business outside.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// The database refused or could not be reached.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// A stored value that no code here could have written.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// Arithmetic beyond 64 bits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// A part of the server that cannot do its work now.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl InternalError {
    /// A stored value that cannot be read back.
    pub fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt(what.to_string())
    }

    /// Whether the database could not be asked at all: nothing is wrong with the question, and it will be answered once
    /// the database is back.
    pub fn is_out_of_reach(&self) -> bool {
        let error = match self {
            Self::Database(DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) => return true,
            Self::Database(DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) => {
                error
            }
            Self::Database(_) | Self::Corrupt(_) | Self::Overflow(_) | Self::Unavailable(_) => return false,
        };
        matches!(**error, SqlxError::PoolTimedOut) || is_gone(error)
    }
}

/// Whether the connection on which this went wrong is no more.
pub fn is_gone(error: &SqlxError) -> bool {
    match error {
        SqlxError::Io(_) | SqlxError::Tls(_) | SqlxError::WorkerCrashed => true,
        // Connection exceptions, and whatever PostgreSQL ends a session with: that it stops or has crashed, that somebody
        // ended it, that it was idle for too long.
        SqlxError::Database(error) => {
            let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
            matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
                || error.code().is_some_and(|code| code.starts_with("08"))
        }
        _ => false,
    }
}

/// What a database error is, in its own words: without those of the libraries around it, which say what was being done.
pub fn cause(error: &DbErr) -> String {
    match error {
        DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error) => match error {
            RuntimeErr::SqlxError(error) => sqlx_cause(error),
            RuntimeErr::Internal(words) => words.clone(),
        },
        DbErr::ConnectionAcquire(_) => "no connection could be had in time".to_owned(),
        DbErr::Custom(words) => words.clone(),
        other => other.to_string(),
    }
}

/// The same of a connection that is nobody's yet.
pub fn sqlx_cause(error: &SqlxError) -> String {
    match error {
        SqlxError::Io(error) => error.to_string(),
        SqlxError::Tls(error) | SqlxError::Configuration(error) => error.to_string(),
        SqlxError::Database(error) => error.message().to_owned(),
        SqlxError::PoolTimedOut => "no connection could be had in time".to_owned(),
        other => other.to_string(),
    }
}

/// What a database error is about, by its code: `SQLSTATE` on `PostgreSQL`, extended result code on `SQLite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbErrorKind {
    /// Two rows would share a key that must be unique.
    Unique,
    /// A row refers to one that is not there.
    ForeignKey,
    /// A CHECK does not hold: an overdraft, for one.
    Check,
    /// Nothing is wrong but the moment: run the transaction again.
    Retry,
    /// A lock was not had in time.
    LockTimeout,
    /// Everything else.
    Other,
}

impl DbErrorKind {
    /// Classifies `error`.
    pub fn of(error: &DbErr) -> Self {
        let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
            return Self::Other;
        };
        let SqlxError::Database(error) = &**error else { return Self::Other };
        match error.code().as_deref() {
            Some("23505" | "2067" | "1555") => Self::Unique,
            Some("23503" | "787") => Self::ForeignKey,
            Some("23514" | "275") => Self::Check,
            Some("40001" | "40P01" | "5" | "6" | "261" | "517") => Self::Retry,
            Some("55P03") => Self::LockTimeout,
            _ => Self::Other,
        }
    }
}

/// Lets a transaction helper see through a domain's error to the database's.
pub trait AsDbError {
    /// The database error inside, if that is what it is.
    fn as_db_error(&self) -> Option<&DbErr>;
}

impl AsDbError for InternalError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) => Some(error),
            Self::Corrupt(_) | Self::Overflow(_) | Self::Unavailable(_) => None,
        }
    }
}

impl AsDbError for DbErr {
    fn as_db_error(&self) -> Option<&DbErr> {
        Some(self)
    }
}

/// Gives a domain's error enum, which has a `InternalError(InternalError)` variant, its conversions: `?` on database calls and sums.
#[macro_export]
macro_rules! faults_into {
    ($error:ty) => {
        impl From<sea_orm::DbErr> for $error {
            fn from(error: sea_orm::DbErr) -> Self {
                Self::InternalError($crate::error::InternalError::from(error))
            }
        }

        impl From<$crate::money::Overflow> for $error {
            fn from(error: $crate::money::Overflow) -> Self {
                Self::InternalError($crate::error::InternalError::from(error))
            }
        }
    };
}

/// Gives a wider error enum, one of whose variants has a narrower one, the narrower one's conversions.
#[macro_export]
macro_rules! errors_through {
    ($error:ty, $variant:ident: $($from:ty),+) => {$(
        impl From<$from> for $error {
            fn from(error: $from) -> Self {
                Self::$variant(error.into())
            }
        }
    )+};
}

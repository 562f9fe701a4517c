//! Expected failures, as payloads carry them: the types that belong to no one domain.
//!
//! The others (`InsufficientFundsError` and so on) stand with the domain whose object they carry; the interface over
//! all of them is in `schema::user_errors`.

use async_graphql::{Enum, SimpleObject};

use crate::error::{Invalid, InvalidKind};

/// Stable codes. Branch on these, never on `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum UserErrorCode {
    /// An input value is not acceptable; `path` and `message` say which and why.
    Invalid,
    /// There is no such object, or it is not the caller's to change.
    NotFound,
    /// Reserved: what a role does not allow is a GraphQL error with `extensions.code` FORBIDDEN.
    Forbidden,
    /// The object has changed since the version in `expectedVersion`.
    VersionConflict,
    /// A request with this key is still running; send the same one again in a moment.
    IdempotencyInProgress,
    /// The key was used with other input; take a new key for a new request.
    IdempotencyKeyReused,
    /// The wallet's `available` is lower than what would be spent.
    InsufficientFunds,
    /// Somebody else was faster, or the job is not OPEN.
    JobNotClaimable,
    /// The job's deadline is over.
    DeadlinePassed,
    /// Nobody claims their own job.
    OwnJob,
    /// Nobody settles their own deposit or withdrawal; another admin does.
    OwnTransaction,
    /// The freelancer holds as many live claims as one may.
    ClaimLimitReached,
    /// The job or claim is in a status from which this step does not work.
    InvalidTransition,
    /// The transaction was settled before.
    TransactionNotPending,
    /// There is an account with this email address.
    EmailTaken,
    /// Email, password or refresh token is wrong, or the account is shut out.
    InvalidCredentials,
    /// Too many failed attempts; `retryAfterMs` says when to try again.
    TooManyAttempts,
    /// The file's bytes were refused: they are not of the type that was promised, or hold what is not taken.
    FileRejected,
}

/// An input value is not acceptable, or the object is missing or not the caller's to change.
#[derive(Clone, Debug, SimpleObject)]
pub struct InputError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
}

impl From<Invalid> for InputError {
    fn from(invalid: Invalid) -> Self {
        let code = match invalid.kind {
            InvalidKind::Value => UserErrorCode::Invalid,
            InvalidKind::NotFound => UserErrorCode::NotFound,
            InvalidKind::Forbidden => UserErrorCode::Forbidden,
            InvalidKind::VersionConflict => UserErrorCode::VersionConflict,
            InvalidKind::OwnJob => UserErrorCode::OwnJob,
            InvalidKind::OwnTransaction => UserErrorCode::OwnTransaction,
            InvalidKind::FileRejected => UserErrorCode::FileRejected,
            InvalidKind::EmailTaken => UserErrorCode::EmailTaken,
            InvalidKind::InvalidCredentials => UserErrorCode::InvalidCredentials,
        };
        let path: Vec<String> = invalid.path.into_iter().map(Into::into).collect();
        Self { message: invalid.message, code, path: (!path.is_empty()).then_some(path) }
    }
}

/// The key is in use by a request still running (retry after `retryAfterMs`), or was used with other input.
#[derive(Clone, Debug, SimpleObject)]
pub struct IdempotencyError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// When to send the same request again, in milliseconds; null if the key was used with other input.
    retry_after_ms: Option<i32>,
}

impl From<crate::idempotency::KeyConflict> for IdempotencyError {
    fn from(conflict: crate::idempotency::KeyConflict) -> Self {
        use crate::idempotency::KeyConflict;

        let (code, retry_after_ms) = match conflict {
            KeyConflict::Reused => (UserErrorCode::IdempotencyKeyReused, None),
            KeyConflict::InProgress { retry_after_ms } => {
                (UserErrorCode::IdempotencyInProgress, i32::try_from(retry_after_ms).ok())
            }
        };
        let path = Some(vec!["input".to_owned(), "idempotencyKey".to_owned()]);
        Self { message: conflict.to_string(), code, path, retry_after_ms }
    }
}

impl IdempotencyError {
    /// One about another name of a request than `idempotencyKey`: `input.<field>` was used with other input, or the request
    /// with it still runs, and can be sent again after so many milliseconds.
    pub fn about(field: &str, message: String, retry_after_ms: Option<u32>) -> Self {
        let code = match retry_after_ms {
            Some(_) => UserErrorCode::IdempotencyInProgress,
            None => UserErrorCode::IdempotencyKeyReused,
        };
        let retry_after_ms = retry_after_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX));
        Self { message, code, path: Some(vec!["input".to_owned(), field.to_owned()]), retry_after_ms }
    }
}

/// Too many failed attempts for this account or from this address. Also: too many accounts opened from it within an hour,
/// too many passwords being checked at this moment, or too many messages sent within a minute; `message` says which.
#[derive(Clone, Debug, SimpleObject)]
pub struct TooManyAttemptsError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// When the next attempt is looked at, in milliseconds.
    retry_after_ms: i32,
}

impl TooManyAttemptsError {
    /// One that says when to come back.
    pub fn new(message: String, retry_after_ms: u32) -> Self {
        let retry_after_ms = i32::try_from(retry_after_ms).unwrap_or(i32::MAX);
        Self { message, code: UserErrorCode::TooManyAttempts, path: None, retry_after_ms }
    }
}

/// Declares the union of what one payload may tell, all of them members of the interface `UserError`. Beside it stands how
/// the domain's error becomes one of them: an exhaustive match, so that an error which a payload cannot tell does not
/// compile. One union that has all members of a narrower one takes them over from it.
#[macro_export]
macro_rules! user_errors {
    ($(#[$doc:meta])* pub(crate) enum $union:ident { $($member:ident),+ } $(with all of $narrow:ident { $($of:ident),+ })?) => {
        #[derive(Clone, async_graphql::Union)]
        $(#[$doc])*
        #[allow(clippy::enum_variant_names, reason = "the members' names are the API's; the lint spares unions of two")]
        pub(crate) enum $union {
            $(#[doc(hidden)] $member($member),)+
        }

        $(impl From<$narrow> for $union {
            fn from(error: $narrow) -> Self {
                match error {
                    $($narrow::$of(member) => Self::$of(member),)+
                }
            }
        })?
    };
}

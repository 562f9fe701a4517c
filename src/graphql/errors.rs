//! The closed list of codes that a top-level GraphQL error may carry in `extensions.code`.
//!
//! Expected failures are data in a payload's `errors`; whatever reaches this list is a mistake of the caller's program,
//! a limit, or a fault of ours. Clients branch on the code, never on the text.

use async_graphql::{Error, ErrorExtensions};

use crate::error::{DbErrorKind, InternalError};

/// Why an operation, or a field of it, has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The field needs a signed-in viewer and no token was sent, or the token is not one of ours.
    Unauthenticated,
    /// The access token was good once: refresh it.
    TokenExpired,
    /// The viewer's roles do not allow it.
    Forbidden,
    /// The request is not a GraphQL request.
    BadRequest,
    /// The document is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// A variable or an argument has an unusable value.
    BadUserInput,
    /// The operation costs more points, fields, aliases, tokens or directives than one request may.
    OperationTooComplex,
    /// The operation nests deeper than allowed.
    OperationTooDeep,
    /// The caller's budget is spent; `retryAfterMs` says when to come back.
    RateLimited,
    /// Persisted queries are not kept here: send whole documents.
    PersistedQueryNotSupported,
    /// There is no such address.
    NotFound,
    /// The cursor is older than the event log reaches.
    CursorExpired,
    /// The operation took longer than allowed and was abandoned.
    Timeout,
    /// A subscription could not begin, since the database cannot be asked right now: subscribe again.
    Unavailable,
    /// A fault of ours; `requestId` finds it in the log.
    InternalServerError,
}

impl ErrorCode {
    /// The code as clients see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadRequest => "BAD_REQUEST",
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::OperationTooComplex => "OPERATION_TOO_COMPLEX",
            Self::OperationTooDeep => "OPERATION_TOO_DEEP",
            Self::RateLimited => "RATE_LIMITED",
            Self::PersistedQueryNotSupported => "PERSISTED_QUERY_NOT_SUPPORTED",
            Self::NotFound => "NOT_FOUND",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
        }
    }

    /// A resolver's error with this code.
    pub fn error(self, message: impl Into<String>) -> Error {
        Error::new(message).extend_with(|_, extensions| extensions.set("code", self.as_str()))
    }
}

/// A fault of ours as a resolver's error. One that is only about the moment says so, and the caller may try again; every
/// other has no code, and `classify` masks it.
pub fn fault(error: InternalError) -> Error {
    match &error {
        InternalError::Database(error)
            if matches!(DbErrorKind::of(error), DbErrorKind::LockTimeout | DbErrorKind::Retry) =>
        {
            ErrorCode::Timeout.error("Others are changing the same thing right now. Nothing was changed; try again.")
        }
        InternalError::Database(_)
        | InternalError::Corrupt(_)
        | InternalError::Overflow(_)
        | InternalError::Unavailable(_) => error.into(),
    }
}

//! How the API returns the refusals of the domain: as data where a person can act on them, else as a top-level error.
//!
//! Every error is matched to its last variant, so that a new one cannot be forgotten here.

use async_graphql::Result;

use crate::{
    accounts::AccountError,
    graphql::{
        context::denied,
        errors::{ErrorCode, fault},
        user_errors::{InputError, TooManyAttemptsError},
    },
    user_errors,
};

user_errors! {
    /// Why signing in, signing up or refreshing did nothing.
    pub(crate) enum AuthError { InputError, TooManyAttemptsError }
}

impl AuthError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    pub(super) fn of(error: AccountError) -> Result<Self> {
        let message = error.to_string();
        match error {
            AccountError::Denied(refused) => Err(denied(refused)),
            AccountError::Invalid(invalid) => Ok(InputError::from(invalid).into()),
            AccountError::TooMany { retry_after_ms, .. } => {
                Ok(TooManyAttemptsError::new(message, retry_after_ms).into())
            }
            AccountError::InternalError(failed) => Err(fault(failed)),
        }
    }
}

/// For payloads whose only expected failure is a bad input.
pub(super) fn input_error(error: AccountError) -> Result<InputError> {
    match AuthError::of(error)? {
        AuthError::InputError(error) => Ok(error),
        AuthError::TooManyAttemptsError(_) => {
            Err(ErrorCode::RateLimited.error("Too many attempts. Try again in a moment."))
        }
    }
}

//! The interface over the expected failures of all domains.

use async_graphql::Interface;

use crate::{
    claims::graphql::{ClaimLimitError, JobNotClaimableError},
    graphql::user_errors::{IdempotencyError, InputError, TooManyAttemptsError, UserErrorCode},
    jobs::graphql::{InvalidTransitionError, VersionConflictError},
    wallet::graphql::{InsufficientFundsError, TransactionNotPendingError},
};

/// An expected failure the user or caller can act on.
#[derive(Interface)]
#[graphql(
    field(name = "message", ty = "&String", desc = "Safe to show to a person."),
    field(name = "code", ty = "&UserErrorCode", desc = "A stable code: branch on it, never on `message`."),
    field(
        name = "path",
        ty = "&Option<Vec<String>>",
        desc = "Where in the variables, e.g. `[\"input\", \"budget\", \"amount\"]`."
    )
)]
#[expect(clippy::enum_variant_names, reason = "the members' names are the API's")]
pub(crate) enum UserError {
    InputError(InputError),
    JobNotClaimableError(JobNotClaimableError),
    InvalidTransitionError(InvalidTransitionError),
    ClaimLimitError(ClaimLimitError),
    IdempotencyError(IdempotencyError),
    TooManyAttemptsError(TooManyAttemptsError),
    TransactionNotPendingError(TransactionNotPendingError),
    VersionConflictError(VersionConflictError),
    InsufficientFundsError(InsufficientFundsError),
}

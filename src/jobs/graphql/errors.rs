//! How the API returns the refusals of the domain: as data where a person can act on them, else as a top-level error.
//!
//! Every error is matched to its last variant, so that a new one cannot be forgotten here.

use async_graphql::{Error, Result, SimpleObject};

use super::objects::{JobObject, JobStatus};
use crate::{
    claims::graphql::ClaimObject,
    graphql::{
        context::denied,
        errors::{ErrorCode, fault},
        user_errors::{IdempotencyError, InputError, UserErrorCode},
    },
    jobs::{JobError, PostError, UpdateError, error::VersionConflict},
    user_errors,
    wallet::graphql::InsufficientFundsError,
};

/// The move is not in the state machine. `allowed`: the statuses from which this mutation works.
#[derive(Clone, SimpleObject)]
pub(crate) struct InvalidTransitionError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The job as it is now.
    pub(crate) job: JobObject,
    /// The claim as it is now, for steps on a claim; else null.
    pub(crate) claim: Option<ClaimObject>,
    /// The statuses of a job from which this mutation works.
    pub(crate) allowed: Vec<JobStatus>,
}

/// `expectedVersion` is stale. Carries the current job.
#[derive(Clone, SimpleObject)]
pub(crate) struct VersionConflictError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The job as it is now.
    job: JobObject,
}

user_errors! {
    /// Why a step in a job's life did nothing.
    pub(crate) enum JobStepError { InputError, InvalidTransitionError, IdempotencyError }
}

impl JobStepError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    pub(crate) fn of(error: JobError) -> Result<Self> {
        let message = error.to_string();
        Ok(match error {
            JobError::Denied(refused) => return Err(denied(refused)),
            JobError::Invalid(invalid) => InputError::from(invalid).into(),
            JobError::InvalidTransition { job, allowed } => InvalidTransitionError {
                message,
                code: UserErrorCode::InvalidTransition,
                path: None,
                job: (*job).into(),
                claim: None,
                allowed: allowed.iter().copied().map(Into::into).collect(),
            }
            .into(),
            JobError::Key(conflict) => IdempotencyError::from(conflict).into(),
            JobError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

user_errors! {
    /// Why `postJob`, `draftJob` or `publishJob` did nothing.
    pub(crate) enum PostJobError { InputError, InsufficientFundsError, InvalidTransitionError, IdempotencyError }
    with all of JobStepError { InputError, InvalidTransitionError, IdempotencyError }
}

impl PostJobError {
    pub(super) fn of(error: PostError) -> Result<Self> {
        match error {
            PostError::Job(error) => JobStepError::of(error).map(Into::into),
            PostError::InsufficientFunds(missing) => Ok(InsufficientFundsError::from(missing).into()),
        }
    }
}

user_errors! {
    /// Why `updateJob` did nothing.
    pub(crate) enum UpdateJobError {
        InputError, InsufficientFundsError, InvalidTransitionError, VersionConflictError, IdempotencyError
    }
    with all of PostJobError { InputError, InsufficientFundsError, InvalidTransitionError, IdempotencyError }
}

impl UpdateJobError {
    pub(super) fn of(error: UpdateError) -> Result<Self> {
        match error {
            UpdateError::Post(error) => PostJobError::of(error).map(Into::into),
            UpdateError::VersionConflict(conflict) => Ok(VersionConflictError::from(conflict).into()),
        }
    }
}

impl From<VersionConflict> for VersionConflictError {
    fn from(conflict: VersionConflict) -> Self {
        Self {
            message: conflict.to_string(),
            code: UserErrorCode::VersionConflict,
            path: Some(vec!["input".into(), "expectedVersion".into()]),
            job: (*conflict.0).into(),
        }
    }
}

/// An error of a read or of a subscription's arguments, which has no payload to tell it in.
pub(crate) fn top_level(error: JobError) -> Error {
    match error {
        JobError::Invalid(invalid) => {
            let path = invalid.path.iter().skip(1).map(AsRef::as_ref).collect::<Vec<_>>().join(".");
            ErrorCode::BadUserInput.error(format!("{} (argument {path})", invalid.message))
        }
        JobError::Denied(refused) => denied(refused),
        JobError::InvalidTransition { .. } | JobError::Key(_) => ErrorCode::BadUserInput.error("Unusable arguments."),
        JobError::InternalError(failed) => fault(failed),
    }
}

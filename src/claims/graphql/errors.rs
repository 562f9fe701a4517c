//! How the API returns the refusals of the domain: as data where a person can act on them, else as a top-level error.
//!
//! Every error is matched to its last variant, so that a new one cannot be forgotten here.

use async_graphql::{Result, SimpleObject};

use crate::{
    claims::{ClaimError, StepError},
    graphql::{
        context::denied,
        errors::fault,
        user_errors::{IdempotencyError, InputError, UserErrorCode},
    },
    jobs::{
        graphql::{InvalidTransitionError, JobObject, JobStepError, VersionConflictError},
        model::Job,
    },
    user_errors,
};

/// Somebody else was faster, or the job is not OPEN. Carries the job as it is now, so the cache heals itself. The code is
/// `DEADLINE_PASSED` where the time for claiming it is over.
#[derive(Clone, SimpleObject)]
pub(crate) struct JobNotClaimableError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The job as it is now.
    job: JobObject,
}

/// The freelancer already holds as many live claims as allowed.
#[derive(Clone, SimpleObject)]
pub(crate) struct ClaimLimitError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// How many live claims one freelancer may hold at once.
    limit: i32,
}

user_errors! {
    /// Why `claimJob` did nothing.
    pub(crate) enum ClaimJobError {
        InputError, JobNotClaimableError, ClaimLimitError, VersionConflictError, IdempotencyError
    }
}

impl ClaimJobError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    pub(super) fn of(error: ClaimError) -> Result<Self> {
        let message = error.to_string();
        let not_claimable = |message, code, job: Box<Job>| {
            let path = Some(vec!["input".into(), "jobId".into()]);
            JobNotClaimableError { message, code, path, job: (*job).into() }
        };
        Ok(match error {
            ClaimError::Denied(refused) => return Err(denied(refused)),
            ClaimError::Invalid(invalid) => InputError::from(invalid).into(),
            ClaimError::NotClaimable(job) => not_claimable(message, UserErrorCode::JobNotClaimable, job).into(),
            ClaimError::DeadlinePassed(job) => not_claimable(message, UserErrorCode::DeadlinePassed, job).into(),
            ClaimError::LimitReached { limit } => {
                let (code, limit) = (UserErrorCode::ClaimLimitReached, i32::try_from(limit).unwrap_or(i32::MAX));
                ClaimLimitError { message, code, path: None, limit }.into()
            }
            ClaimError::VersionConflict(conflict) => VersionConflictError::from(conflict).into(),
            ClaimError::Key(conflict) => IdempotencyError::from(conflict).into(),
            ClaimError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

/// The same for a step in a claim's life.
pub(super) fn step_error(error: StepError) -> Result<JobStepError> {
    let message = error.to_string();
    match error {
        StepError::Job(error) => JobStepError::of(error),
        StepError::InvalidTransition { job, claim, allowed } => Ok(InvalidTransitionError {
            message,
            code: UserErrorCode::InvalidTransition,
            path: None,
            job: (*job).into(),
            claim: Some((*claim).into()),
            allowed: allowed.iter().copied().map(Into::into).collect(),
        }
        .into()),
    }
}

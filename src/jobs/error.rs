//! What can go wrong with a job.

use sea_orm::DbErr;

use super::model::{InvalidTransition, Job, JobStatus};
use crate::{
    accounts::AccountError,
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    errors_through, faults_into,
    idempotency::KeyConflict,
    money::Overflow,
    wallet::{HoldError, InsufficientFunds},
};

/// Why a step in a job's life did nothing.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The step is not possible from the job's status.
    #[error("The job is {}; this works only while it is {}.", job.status().as_str(), listed(allowed))]
    InvalidTransition {
        /// The job as it is.
        job: Box<Job>,
        /// The statuses from which the step works.
        allowed: &'static [JobStatus],
    },
    /// The idempotency key cannot be used now.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(JobError);

impl JobError {
    /// A step that this job refused.
    pub fn refused(job: &Job, InvalidTransition { step, .. }: InvalidTransition) -> Self {
        Self::InvalidTransition { job: Box::new(job.clone()), allowed: step.allowed() }
    }
}

/// Statuses as a sentence lists them.
pub(crate) fn listed(statuses: &[JobStatus]) -> String {
    statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or ")
}

impl AsDbError for JobError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_) | Self::Invalid(_) | Self::InvalidTransition { .. } | Self::Key(_) => None,
        }
    }
}

impl From<AccountError> for JobError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Denied(denied) => denied.into(),
            AccountError::Invalid(invalid) => invalid.into(),
            AccountError::InternalError(error) => error.into(),
            // Skills are looked up without a limiter.
            AccountError::TooMany { .. } => InternalError::Unavailable(error.to_string()).into(),
        }
    }
}

/// Why a job was not written down or posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// As for any step.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The client cannot pay its budget.
    #[error(transparent)]
    InsufficientFunds(#[from] InsufficientFunds),
}

errors_through!(PostError, Job: Denied, Invalid, KeyConflict, InternalError, DbErr, Overflow, AccountError);

impl From<HoldError> for PostError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::InsufficientFunds(missing) => missing.into(),
            HoldError::InternalError(error) => error.into(),
        }
    }
}

impl AsDbError for PostError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::Job(error) => error.as_db_error(),
            Self::InsufficientFunds(_) => None,
        }
    }
}

/// The job changed since the caller read it.
#[derive(Debug, thiserror::Error)]
#[error("The job has changed since you read it: it is at version {}. Read it again and decide anew.", .0.version)]
pub struct VersionConflict(pub Box<Job>);

/// Why a job has the terms that it had.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// As for posting it.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It has changed since the caller read it.
    #[error(transparent)]
    VersionConflict(#[from] VersionConflict),
}

errors_through!(UpdateError, Post: JobError, Denied, Invalid, KeyConflict, InternalError, DbErr, Overflow, AccountError, HoldError);

impl AsDbError for UpdateError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::Post(error) => error.as_db_error(),
            Self::VersionConflict(_) => None,
        }
    }
}

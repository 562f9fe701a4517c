//! What can go wrong with a claim.

use sea_orm::DbErr;

use super::model::Claim;
use crate::{
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    errors_through, faults_into,
    idempotency::KeyConflict,
    jobs::{
        JobError,
        error::{VersionConflict, listed},
        model::{Job, JobStatus},
    },
    money::Overflow,
};

/// Why a job was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Somebody was faster, or the job is not open.
    #[error("This job cannot be claimed: it is {}. Choose another one.", .0.status().as_str())]
    NotClaimable(Box<Job>),
    /// The time for claiming it is over.
    #[error("This job can no longer be claimed: its deadline is over. Choose another one.")]
    DeadlinePassed(Box<Job>),
    /// The freelancer holds as many live claims as allowed.
    #[error("You hold {limit} live claims, as many as allowed. Finish or release one first.")]
    LimitReached {
        /// How many are allowed.
        limit: u32,
    },
    /// The job has changed since the caller read it.
    #[error(transparent)]
    VersionConflict(#[from] VersionConflict),
    /// The idempotency key cannot be used now.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(ClaimError);

impl AsDbError for ClaimError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_)
            | Self::Invalid(_)
            | Self::NotClaimable(_)
            | Self::DeadlinePassed(_)
            | Self::LimitReached { .. }
            | Self::VersionConflict(_)
            | Self::Key(_) => None,
        }
    }
}

/// Why a step in a claim's life did nothing.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// As for any step in a job's life.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The step is not possible from where the job and its claim are.
    #[error("The job is {} and the claim {}; this works only while the job is {}.",
        job.status().as_str(), claim.status().as_str(), listed(allowed))]
    InvalidTransition {
        /// The job as it is.
        job: Box<Job>,
        /// The claim as it is.
        claim: Box<Claim>,
        /// The job's statuses from which the step works.
        allowed: &'static [JobStatus],
    },
}

errors_through!(StepError, Job: Denied, Invalid, KeyConflict, InternalError, DbErr, Overflow);

impl AsDbError for StepError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::Job(error) => error.as_db_error(),
            Self::InvalidTransition { .. } => None,
        }
    }
}

//! What can go wrong with a job.

use super::model::{InvalidTransition, Job, JobStatus};
use crate::{
    accounts::AccountError,
    auth::actor::Denied,
    error::{AsDbError, Fault, Invalid},
    faults_into,
    idempotency::KeyConflict,
    wallet::WalletError,
};

/// Why a use case of jobs did nothing.
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
    /// The job changed since the caller read it.
    #[error("The job has changed since you read it: it is at version {}. Read it again and decide anew.", .0.version)]
    VersionConflict(Box<Job>),
    /// The money could not be moved.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The idempotency key cannot be used now.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
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
    fn as_db_error(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::Fault(fault) => fault.as_db_error(),
            Self::Wallet(error) => error.as_db_error(),
            Self::Denied(_)
            | Self::Invalid(_)
            | Self::InvalidTransition { .. }
            | Self::VersionConflict(_)
            | Self::Key(_) => None,
        }
    }
}

impl From<AccountError> for JobError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Denied(denied) => denied.into(),
            AccountError::Invalid(invalid) => invalid.into(),
            AccountError::Fault(fault) => fault.into(),
            // Skills are looked up without a limiter.
            AccountError::TooMany { .. } => Fault::Unavailable(error.to_string()).into(),
        }
    }
}

//! The steps of a job's life, and from where each works.

use super::JobStatus;

/// A step in a job's life, as a mutation or a clock asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `publishJob`
    Publish,
    /// `updateJob`
    Update,
    /// `cancelJob`, by the client
    Cancel,
    /// `cancelJob`, by an admin
    CancelAsAdmin,
    /// `claimJob`
    Claim,
    /// `releaseClaim`
    Release,
    /// `submitDeliverable`
    Submit,
    /// `requestRevision`
    RequestRevision,
    /// `approveDeliverable`
    Approve,
    /// `interveneInJob`
    Intervene,
    /// The deadline has passed.
    Expire,
    /// The time of its claim is over.
    Lapse,
}

impl Step {
    /// The statuses from which the step works; from every other it is refused.
    pub const fn allowed(self) -> &'static [JobStatus] {
        match self {
            Self::Publish => &[JobStatus::Draft],
            Self::Update | Self::Cancel => &[JobStatus::Draft, JobStatus::Open],
            Self::CancelAsAdmin | Self::Claim | Self::Expire => &[JobStatus::Open],
            Self::Release | Self::Lapse => &[JobStatus::Claimed],
            Self::Submit | Self::Intervene => &[JobStatus::Claimed, JobStatus::InReview],
            Self::RequestRevision | Self::Approve => &[JobStatus::InReview],
        }
    }

    /// Whether the step works from `status`.
    pub fn works_from(self, status: JobStatus) -> bool {
        self.allowed().contains(&status)
    }
}

/// A step that does not work from where the job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step:?} does not work from {}", from.as_str())]
pub struct InvalidTransition {
    /// Where the job is.
    pub from: JobStatus,
    /// What was asked of it.
    pub step: Step,
}

//! The event that this domain records: what it keeps and who receives it.
//!
//! `service` records it in the transaction of the step itself, after the job's own change.

use serde::{Deserialize, Serialize};

use super::model::{Claim, ClaimStatus};
use crate::{
    clock::Timestamp,
    error::InternalError,
    events::{Audience, EventKind, NewEvent},
    ids::{EventId, UserId},
    jobs::events::JobSnapshot,
};

/// A claim was made or changed, for its freelancer and the job's client. Payload: [`ClaimUpdate`].
pub const CLAIM_UPDATED: EventKind = EventKind::named("CLAIM_UPDATED").for_parties();

/// All of them.
pub const KINDS: &[EventKind] = &[CLAIM_UPDATED];

/// What a `claimUpdated` event keeps of its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimUpdate {
    /// The claim after the step.
    pub claim: Claim,
    /// Its job after the step.
    pub job: JobSnapshot,
    /// The claim's status before, if it changed.
    pub previous_status: Option<ClaimStatus>,
}

/// `CLAIM_UPDATED`.
pub(super) fn updated(id: EventId, update: &ClaimUpdate, occurred_at: Timestamp) -> Result<NewEvent, InternalError> {
    Ok(NewEvent {
        id,
        kind: CLAIM_UPDATED,
        subject: update.claim.id.into(),
        subject_version: update.claim.version,
        audience: audience(update.job.job.client_id, &update.claim),
        payload: serde_json::to_string(update).map_err(InternalError::corrupt)?,
        occurred_at,
    })
}

/// Who receives a change of a claim: its two sides.
pub(super) fn audience(client: UserId, claim: &Claim) -> Audience {
    Audience::of([client, claim.freelancer_id])
}

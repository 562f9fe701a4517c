//! Claims in the API: `Claim`, `Deliverable`, and the way from the claim to the payment. Their events stand in
//! [`subscription`](super::subscription).
//!
//! Only translation between the schema and the domain: no rule, no SQL.

mod connections;
mod errors;
mod inputs;
mod loaders;
mod mutations;
mod objects;
mod payloads;
mod queries;

pub(crate) use connections::{ClaimConnection, DeliverableConnection};
pub(crate) use errors::{ClaimLimitError, JobNotClaimableError};
pub(crate) use loaders::{
    ClaimLoader, active_claim, deliverables_of, viewer_claim, visible_claim, visible_deliverable, visible_file,
};
pub(crate) use mutations::ClaimMutation;
pub(crate) use objects::{ClaimObject, ClaimStatus, DeliverableObject};
pub(crate) use queries::ClaimQuery;

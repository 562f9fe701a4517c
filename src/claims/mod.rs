//! Claims: who works on a job, and the work.
//!
//! Owns `claims` and `deliverables`, the event `claimUpdated`, and with them a job's life from CLAIMED to COMPLETED. At
//! most one claim of a job is live: the job's row is locked, its status decides, and a partial unique index stands behind
//! both. The highest of the domains: it moves jobs, pays by [`escrow`], which is all that it needs of `wallet`, and tells
//! both sides through `notifications`, all in one transaction.

mod approval;
pub mod clocks;
mod dependents;
pub mod entity;
pub mod error;
pub mod escrow;
pub mod events;
pub(crate) mod graphql;
pub mod intervention;
pub mod list;
pub mod model;
pub mod service;
pub mod settings;
pub(crate) mod subscription;
pub mod verify;

pub use error::{ClaimError, StepError};
pub use service::Claims;

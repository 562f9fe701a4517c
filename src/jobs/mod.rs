//! Jobs: what clients want done, from draft to end.
//!
//! Owns `jobs` and `job_skills`, the search over them, and the events `jobPosted` and `jobUpdated`. A job's budget sits
//! in escrow exactly while the job is OPEN, CLAIMED, IN_REVIEW or DISPUTED. `claims` above moves a job through its
//! claimed life by [`Jobs::lock_in`] and [`Jobs::change_in`]; `wallet` below holds the money and `notifications` tells
//! the client when an admin cancelled.

pub mod deadlines;
pub mod entity;
pub mod error;
pub mod events;
pub mod filter;
pub(crate) mod graphql;
pub(crate) mod interest;
pub mod list;
pub mod model;
pub mod quota;
mod reads;
pub mod search;
pub mod service;
pub(crate) mod subscription;
pub mod verify;
pub mod withholding;

pub use error::{JobError, PostError, UpdateError};
pub use service::Jobs;

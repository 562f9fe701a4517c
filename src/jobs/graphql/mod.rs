//! Jobs in the API: `Job`, the feed and search, and what clients do. Their events stand in
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

pub(crate) use connections::JobConnection;
pub(crate) use errors::{InvalidTransitionError, JobStepError, VersionConflictError, top_level};
pub(crate) use inputs::JobFilterArgument;
pub(crate) use loaders::{JobLoader, visible_job};
pub(crate) use mutations::JobMutation;
pub(crate) use objects::{JobChange, JobObject, JobStatus};
pub(crate) use queries::JobQuery;

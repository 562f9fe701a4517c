//! The durable inbox: what concerns a user, read or not, whether or not a socket was open.
//!
//! Owns `notifications` and the event `notificationReceived`. `jobs` and `claims` call [`Notifications::notify_in`] in
//! the transaction of what happened; this module knows of a subject no more than its kind and id. What is kept is the kind
//! and the details; `graphql` words them when they are read.

pub mod entity;
pub mod error;
pub(crate) mod graphql;
pub mod model;
mod old;
pub mod service;
pub mod verify;

pub use error::NotificationError;
pub use old::OldNotifications;
pub use service::Notifications;

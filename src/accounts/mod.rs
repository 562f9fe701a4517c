//! People: their accounts, roles and skills.
//!
//! Owns `users`, `skills` and `user_skills`. Everything about a user is public but the email and what the other domains
//! mark private. Signing in and out happens here, on the tools of `auth`; a password, token or email never reaches a
//! log. The lowest of the domains: it calls none of the others, and they read and lock users by [`cards`] alone.

pub mod cards;
pub mod entity;
pub mod error;
pub(crate) mod graphql;
pub mod model;
mod reads;
pub mod service;
pub mod skills;

pub use error::AccountError;
pub use service::Accounts;

//! Who is calling: passwords, tokens, sessions, and what ends them.
//!
//! Owns the `sessions` and `refresh_tokens` tables. A sign-in opens a *session*; its access tokens ([`tokens`]) are
//! short-lived and signed, its refresh token ([`sessions`]) is opaque, stored as a hash and good for one use. An access
//! token alone is not enough: each request also finds its session alive and takes the roles from the database, so a
//! sign-out, a suspension or a changed role counts from the next request on, and open sockets are notified through
//! [`revocations`]. Used by `accounts` (which owns the users) and by `http`.

pub mod actor;
pub(crate) mod authorization;
pub mod events;
mod hash_memory;
pub mod keys;
pub mod old_sessions;
pub mod passwords;
pub mod revocations;
pub mod rotation;
pub mod sessions;
pub mod settings;
pub mod tokens;

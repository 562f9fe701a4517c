//! The API, told as stories on both databases. One binary, so that it links once.

#![allow(missing_docs, reason = "names of verbs and stories say what they are")]
#![allow(clippy::large_futures, reason = "a story is one future")]
#![allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]
#![allow(clippy::too_many_lines, reason = "a story is as long as it is")]

pub mod permissions;
pub mod support;

mod bad_input;
mod books;
mod duels;
mod guards;
mod idempotency;
mod lists;
mod races;
mod readme;
mod resume;
mod settlements;
mod story;
mod transitions;
mod verify;

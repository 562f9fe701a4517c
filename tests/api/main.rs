//! The API, told as stories on both databases. One binary, so that it links once.

#![allow(missing_docs, reason = "names of verbs and stories say what they are")]
#![allow(clippy::too_many_lines, reason = "a story is as long as it is")]

pub mod permissions;
pub mod support;

mod canary;
mod story;

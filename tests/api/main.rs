//! The API, told as stories on both databases. One binary, so that it links once.

#![allow(missing_docs, reason = "names of verbs and stories say what they are")]
#![allow(clippy::too_many_lines, reason = "a story is as long as it is")]

pub mod support;

mod accounts;
mod architecture;
mod audits;
mod books;
mod clients;
mod closes;
mod contract;
mod delivery;
mod duels;
mod guards;
mod http;
mod idempotency;
mod limits;
mod positions;
mod process;
mod races;
mod readme;
mod resume;
mod sockets;
mod story;
mod verify;

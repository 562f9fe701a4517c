//! The API, told as stories on both databases. One binary, so that it links once.

#![allow(missing_docs, reason = "names of verbs and stories say what they are")]
#![allow(clippy::large_futures, reason = "a story is one future")]
#![allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]
#![allow(
    clippy::duration_suboptimal_units,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::new_without_default,
    clippy::obfuscated_if_else,
    clippy::return_self_not_must_use,
    clippy::similar_names,
    clippy::type_complexity,
    clippy::unchecked_time_subtraction,
    reason = "a story is read once and fails loudly"
)]
#![allow(clippy::too_many_lines, reason = "a story is as long as it is")]

pub mod faults;
pub mod permissions;
pub mod support;

mod accounts;
mod addresses;
mod architecture;
mod askers;
mod audiences;
mod audits;
mod bad_input;
mod books;
mod bus;
mod canary;
mod charges;
mod clients;
mod closed_lists;
mod closes;
mod codes;
mod connections;
mod consumers;
mod contention;
mod contract;
mod conversations;
mod crowds;
mod cursors;
mod delivery;
mod deploys;
mod descriptions;
mod differential;
mod documents;
mod door;
mod drains;
mod due;
mod duels;
mod embedded;
mod files;
mod floods;
mod groups;
mod guards;
mod histories;
mod http;
mod idempotency;
mod kept;
mod keys;
mod language;
mod limits;
mod lists;
mod logs;
mod memory;
mod metrics;
mod newcomers;
mod nodes;
mod notices;
mod operating;
mod oracle;
mod own_jobs;
mod own_results;
mod playground;
mod positions;
mod prices;
mod process;
mod races;
mod readme;
mod reconnects;
mod replicas;
mod resume;
mod retention;
mod saved_searches;
mod schedule;
mod search;
mod secured;
mod settlements;
mod shares;
mod sharing;
mod silence;
mod skills;
mod slow_readers;
mod sockets;
mod stock;
mod story;
mod streams;
mod subscriber;
mod suspensions;
mod tls;
mod transitions;
mod unavailable;
mod verify;
mod viewers;
mod writers;

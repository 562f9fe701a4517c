//! The real-time GraphQL API of a freelance marketplace.
//!
//! # The map of the house
//!
//! | Where | What |
//! | --- | --- |
//! | [`accounts`] [`jobs`] [`claims`] [`conversations`] [`wallet`] [`notifications`] [`files`] | the domains; the same file names in each |
//! | [`events`] | the durable log that every change is recorded in |
//! | [`realtime`] | delivery: from the log to subscribers |
//! | [`schema`] | the merged GraphQL schema and the interfaces that span domains |
//! | [`graphql`] | the GraphQL kit; knows no domain |
//! | [`operations`] | from a document to its answer, for any transport |
//! | [`http`] | transports, and what stands around every request |
//! | [`search`] | what somebody types, and the texts that it finds |
//! | [`auth`] | who is calling |
//! | [`schedule`] | does what its time has come for, by the database's clock |
//! | [`retention`] | removes what is past its time |
//! | [`limits`] | how much each caller and each address may do |
//! | [`domains`] | what the domains bring to those who know none |
//! | [`app`] [`config`] [`lifecycle`] [`migrations`] [`telemetry`] | the process |
//! | [`db`] [`settings`] [`proof`] [`clock`] [`demo`] [`ids`] [`backoff`] [`money`] [`text`] [`page`] [`tls_roots`] [`idempotency`] [`error`] | leaves |
//! | `fuzzing` | entry points for the targets in `fuzz/` and for their seeds; not built into the server |
//! | [`backup`] [`seed`] [`verify`] | what the command line does besides serving |
//!
//! Each domain has `mod.rs` (what it owns), `entity.rs` (tables), `model.rs` (pure rules), `service.rs` (use cases, and
//! `_in(&tx, ..)` twins that join a neighbour's transaction), `error.rs` and `graphql`; `events.rs` where it records
//! events (their kinds, what they keep, who receives them); and where its subscriptions fill a file of their own,
//! `subscription.rs`.
//!
//! # The one rule of direction
//!
//! `main -> app -> http -> operations -> schema + domain::graphql -> domain::service -> {entity, model, error} ->
//! leaves`, and among the domains `conversations -> claims -> {jobs, files}`, `jobs -> {wallet, notifications} -> accounts`, never back; reads the other
//! way stand in `graphql`. A domain records events, only [`realtime`] delivers them. `tests/api/architecture.rs`
//! holds these fences.

pub mod accounts;
pub mod app;
pub mod auth;
pub mod backoff;
pub mod backup;
pub mod claims;
pub mod clock;
pub mod config;
pub mod conversations;
pub mod db;
pub mod demo;
pub mod descriptors;
pub mod domains;
pub mod error;
pub mod events;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod graphql;
pub mod http;
pub mod idempotency;
pub mod ids;
pub mod jobs;
pub mod lifecycle;
pub mod limits;
pub mod migrations;
pub mod money;
pub mod network;
pub mod notifications;
pub mod operations;
pub mod page;
pub mod proof;
pub mod realtime;
pub mod retention;
pub mod schedule;
pub mod schema;
pub mod search;
pub mod seed;
pub mod settings;
pub mod telemetry;
pub mod text;
pub mod tls_roots;
pub mod verify;
pub mod wallet;

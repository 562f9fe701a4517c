//! The real-time GraphQL API of a freelance marketplace.
//!
//! # The map of the house
//!
//! | Where | What |
//! | --- | --- |
//! | [`accounts`] [`jobs`] [`claims`] [`wallet`] [`notifications`] | the domains; the same file names in each |
//! | [`events`] | the durable log that every change is recorded in |
//! | [`realtime`] | delivery: from the log to whoever listens |
//! | [`schema`] | the merged GraphQL schema and the interfaces that span domains |
//! | [`graphql`] | the GraphQL kit; knows no domain |
//! | [`operations`] | from a document to its answer, for any transport |
//! | [`http`] | transports, and what stands around every request |
//! | [`auth`] | who is calling |
//! | [`retention`] | removes what is past its time |
//! | [`gossip`] | limits that hold for all nodes together |
//! | [`app`] [`config`] [`lifecycle`] [`migrations`] [`telemetry`] | the process |
//! | [`db`] [`clock`] [`demo`] [`ids`] [`backoff`] [`money`] [`text`] [`page`] [`trust`] [`idempotency`] [`error`] | leaves |
//! | [`backup`] [`seed`] [`verify`] | what the command line does besides serving |
//!
//! Each domain has `mod.rs` (what it owns), `entity.rs` (tables), `model.rs` (pure rules), `service.rs` (use cases, and
//! `_in(&tx, ..)` twins that join a neighbour's transaction), `error.rs` and `graphql.rs`, and where what is heard of it
//! fills a file of its own, `subscription.rs`.
//!
//! # The one rule of direction
//!
//! `main -> app -> http -> operations -> schema + domain::graphql -> domain::service -> {entity, model, error} -> leaves`, and among
//! the domains `claims -> jobs -> {wallet, notifications} -> accounts`, never back; reads the other way stand in
//! `graphql.rs`. A domain records events, only [`realtime`] delivers them. `tests/architecture.rs` holds these fences.

pub mod accounts;
pub mod app;
pub mod auth;
pub mod backoff;
pub mod backup;
pub mod buckets;
pub mod claims;
pub mod clock;
pub mod config;
pub mod db;
pub mod demo;
pub mod descriptors;
pub mod error;
pub mod events;
pub mod gossip;
pub mod graphql;
pub mod http;
pub mod idempotency;
pub mod ids;
pub mod jobs;
pub mod lifecycle;
pub mod migrations;
pub mod money;
pub mod network;
pub mod notifications;
pub mod operations;
pub mod page;
pub mod realtime;
pub mod retention;
pub mod schema;
pub mod seed;
pub mod telemetry;
pub mod text;
pub mod trust;
pub mod verify;
pub mod wallet;

//! The schema's history, one module a step, for `SQLite` 3.37 and `PostgreSQL` 15 alike.
//!
//! Every CHECK, UNIQUE and FOREIGN KEY carries a name, since that name is what an error handler and an operator get to
//! see. A step is one transaction: it is there whole or not at all, but for one that makes an index beside the traffic. On `PostgreSQL` two nodes that migrate together
//! queue on an advisory lock, and the second finds nothing left to do.
//!
//! **A step is for two versions of the program.** While a deploy goes on, the one before it runs beside the new one,
//! and it may come back. So a change that takes something away has two steps in two releases: one that *expands* (a new
//! column that may be NULL or has a default, a new table), after which the program uses the new and still tolerates the
//! old; and, when no node needs the old any more, one that *contracts*, ends with [`compat::require`] of the step that
//! expanded, and by that keeps older programs away. Names begin with the date and a number, in order: they are
//! compared.

#![expect(unreachable_pub, reason = "each step is a module of its own that this file alone takes")]

pub use sea_orm_migration::prelude::*;

pub mod compat;
mod concurrently;
mod lists;
mod m20261122_000001_initial;
mod m20261125_000001_commit_marks;
mod m20261125_000002_read_events;
mod m20261125_000003_event_kinds;
mod m20261127_000001_refresh_successors;
mod m20261127_000002_mailboxes;
mod m20261127_000003_notification_details;
mod m20261127_000004_log_histories;
mod m20261128_000301_node_keys;
mod m20261128_000401_books;
mod m20261128_000402_chain_indexes;
mod m20261128_000501_retention;
mod m20261128_000502_retention_indexes;
mod m20261128_000503_withheld_jobs;
mod m20261128_000504_event_viewers;
mod m20261128_000505_skills;
mod m20261129_000101_event_audiences;
mod m20261129_000102_event_viewers;
mod m20261129_000103_closed_lists;
mod m20261129_000104_consumers;
mod m20261130_000101_due_indexes;
mod m20261130_000201_conversations;
mod m20261130_000301_files;

/// All steps, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_initial::Migration),
            Box::new(m20261125_000001_commit_marks::Migration),
            Box::new(m20261125_000002_read_events::Migration),
            Box::new(m20261125_000003_event_kinds::Migration),
            Box::new(m20261127_000001_refresh_successors::Migration),
            Box::new(m20261127_000002_mailboxes::Migration),
            Box::new(m20261127_000003_notification_details::Migration),
            Box::new(m20261127_000004_log_histories::Migration),
            Box::new(m20261128_000301_node_keys::Migration),
            Box::new(m20261128_000401_books::Migration),
            Box::new(m20261128_000402_chain_indexes::Migration),
            Box::new(m20261128_000501_retention::Migration),
            Box::new(m20261128_000502_retention_indexes::Migration),
            Box::new(m20261128_000503_withheld_jobs::Migration),
            Box::new(m20261128_000504_event_viewers::Migration),
            Box::new(m20261128_000505_skills::Migration),
            Box::new(m20261129_000101_event_audiences::Migration),
            Box::new(m20261129_000102_event_viewers::Migration),
            Box::new(m20261129_000103_closed_lists::Migration),
            Box::new(m20261129_000104_consumers::Migration),
            Box::new(m20261130_000101_due_indexes::Migration),
            Box::new(m20261130_000201_conversations::Migration),
            Box::new(m20261130_000301_files::Migration),
        ]
    }
}
